"""Answering a study over HTTP: by the rules of the command line, in words that tell no stranger of this site's data."""

from typing import Any

from ledger.errors import ContractError, RpcError, TransactionError
from node import policy
from node.api.problems import NOT_FOUND, Refused
from node.errors import ConfigurationError, StudyRefused, WorkerError
from node.expected import Expected
from node.operator import studies
from node.operator.desk import Desk
from node.operator.standing import answer
from node.specification import specification

AT_THE_SITE = "`swarm-node study accept` at the site says why"


def inspect(desk: Desk, number: int) -> dict[str, Any]:
    """What a study would do here; raises Refused."""
    _must_exist(desk, number)
    try:
        return studies.inspect(desk, number)
    except Expected as error:
        raise _refusal(error) from None


def accept(desk: Desk, number: int, spec_hash: str) -> dict[str, Any]:
    """Accept the study with exactly this specification, if policy and data allow it; raises Refused."""
    _must_be(desk, number, spec_hash)
    if answer(desk.study(number), desk.address) != "none":  # before the data is looked at, which takes its time
        raise Refused(409, "api.answered", f"this site has answered study {number} already")
    try:
        broken = policy.breaches(policy.load(desk.folder.home), specification(desk.study(number)))
        if broken:
            raise Refused(409, StudyRefused.code, f"this site's policy forbids it: {'; '.join(map(str, broken))}")
        return studies.accept(desk, number, spec_hash)
    except Expected as error:
        raise _refusal(error) from None


def decline(desk: Desk, number: int, spec_hash: str) -> dict[str, Any]:
    """Decline the study with exactly this specification; raises Refused."""
    _must_be(desk, number, spec_hash)
    try:
        return studies.decline(desk, number)
    except Expected as error:
        raise _refusal(error) from None


def _must_exist(desk: Desk, number: int) -> None:
    if number not in desk.state.studies:
        raise NOT_FOUND


def _must_be(desk: Desk, number: int, spec_hash: str) -> None:
    _must_exist(desk, number)
    if desk.study(number).spec_hash.hex() != spec_hash:
        raise Refused(409, "api.spec_mismatch", f"study {number} has another specification; inspect it again")


def _refusal(error: Exception) -> Refused:
    """What may be said of an error."""
    code = getattr(error, "code", "node.error")
    match error:
        case ContractError():
            return Refused(409, error.code, str(error))
        case RpcError():
            return Refused(503, error.code, "this site's Ethereum node could not be asked; nothing is known to be done")
        case TransactionError():
            return Refused(503, error.code, "what became of the transaction is not known; look at the study again")
        case StudyRefused():
            return Refused(409, error.code, f"the study can't be run here as it is; {AT_THE_SITE}")
        case ConfigurationError():
            return Refused(409, error.code, "this site's configuration or policy can't be used; `swarm-node doctor`")
        case WorkerError():
            return Refused(503, error.code, f"the local data could not be held against the study; {AT_THE_SITE}")
        case _:
            return Refused(409, code, f"it can't be done as things stand; {AT_THE_SITE}")
