"""Errors of a running site. Each has a stable code, says what happened and what the operator can do.

NodeError
├── ConfigurationError   a configuration file or option that can't be used (also ValueError)
├── IdentityError        the keystore or its password
├── NotMemberError       this site's key is not a member of the consortium
├── StudyRefused         a study that this site may not run as proposed
├── StorageError         this site's own disk doesn't keep or give what it should
├── WorkerError          the training process failed or died
├── OperatorError        what an operator asked for can't be done as things stand
├── TokenInvalid         a token of the HTTP interface that opens nothing
├── Unfit                this site can't take part as it is
│   └── DataUnfit        its data doesn't fit the study
└── DemoError            the demo could not be run
"""

from typing import Any


class NodeError(Exception):
    """Base of every error that a site raises on purpose."""

    code = "node.error"


class ConfigurationError(NodeError, ValueError):
    """A configuration file or option that can't be used."""

    code = "node.configuration"


class IdentityError(NodeError):
    """The keystore or its password."""

    code = "node.identity"


class NotMemberError(NodeError):
    """This site's key is not a member of the consortium."""

    code = "node.not_member"


class StudyRefused(NodeError):
    """A study that this site may not run as proposed."""

    code = "node.study_refused"


class StorageError(NodeError):
    """This site's own disk doesn't keep or give what it should."""

    code = "node.storage"


class WorkerError(NodeError):
    """The training process failed or died.

    `cause` is the worker's own error code where it gave one.
    """

    code = "node.worker"

    def __init__(self, message: str, cause: str = "") -> None:
        super().__init__(message)
        self.cause = cause


class OperatorError(NodeError):
    """What an operator asked for can't be done as things stand."""

    code = "node.operator"


class TokenInvalid(NodeError):
    """A token of the HTTP interface that opens nothing; the message never repeats it."""

    code = "node.token_invalid"


class Unfit(NodeError):
    """This site can't take part as it is; `details` say why, check by check."""

    code = "node.unfit"

    def __init__(self, message: str, details: dict[str, Any]) -> None:
        super().__init__(message)
        self.details = details


class DataUnfit(Unfit):
    """This site's data doesn't fit the study; `details` say everything that a check found."""

    code = "node.unfit.data"


class DemoError(NodeError):
    """The demo could not be run."""

    code = "node.demo"
