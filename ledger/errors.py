"""Errors of the ledger.

    LedgerError
    ├── RpcError                   talking to the chain's node failed
    │   ├── RpcUnreachable         nobody answers, or not in time (also ConnectionError)
    │   ├── RpcRefused             the node answered with an error: code, message, data
    │   └── RpcDistrusted          the node contradicts what it said before: nothing is sent to it
    ├── ChainMismatch              another chain, another genesis, other code, or a chain that was reset under us
    ├── TransactionError
    │   ├── TransactionTimeout     sent, and not in a block in time (also TimeoutError); it may still be mined
    │   ├── TransactionLost        can never be mined as signed, or nobody can tell what became of it
    │   └── TransactionFailed      mined and reverted for no reason that the contract names
    ├── TransactionInvalid         bytes that aren't a transaction that somebody signed (also ValueError)
    ├── ContractError              the contract refused: one subclass for each of its errors, in ledger.reverts
    ├── EventInvalid               a log that isn't what the contract's ABI says (also ValueError)
    ├── DeploymentInvalid          a deployment file that can't be used (also ValueError)
    ├── KeyInvalid                 a private key that isn't one (also ValueError)
    ├── QbftInvalid                what a consortium's own chain can't be made from (also ValueError)
    ├── IndexFault                 the index of events can't be used
    │   ├── IndexMismatch          it is another deployment's, or another version's
    │   ├── IndexDamaged           it is no index, or the database can't be used
    │   └── IndexRewritten         the chain has other blocks than final ones that were indexed
    ├── ServiceInvalid             the auditors' service can't be started as asked for (also ValueError)
    ├── BundleInvalid              a file that is no bundle for auditors, or is larger than one may be (also ValueError)
    ├── BundleUnmakeable           a bundle can't be made from what the chain's node and the folder give
    ├── AuditFailed                an audit that found something broken, or nothing that could be proven
    └── DevnetError                the embedded devnet can't do it
        ├── AnvilMissing           no anvil on this machine; says the line to type
        └── JournalInvalid         the journal isn't one, or doesn't give the chain it recorded (also ValueError)

Every class has a stable `code`; the message says what happened and what to do.
"""

import inspect
import re
from typing import Any, ClassVar


class LedgerError(Exception):
    """Base of every error that the ledger raises on purpose."""

    code: ClassVar[str] = "ledger.error"


class RpcError(LedgerError):
    """Base of the errors of talking to the chain's node."""

    code = "ledger.rpc"


class RpcUnreachable(RpcError, ConnectionError):
    """Nobody answers at the endpoint, or not in time; `may_have_acted` is false where no call was sent at all."""

    code = "ledger.rpc.unreachable"

    def __init__(self, message: str, *, may_have_acted: bool = True) -> None:
        super().__init__(message)
        self.may_have_acted = may_have_acted


class RpcRefused(RpcError):
    """The node answered with an error object."""

    code = "ledger.rpc.refused"

    def __init__(self, number: int, message: str, data: object = None) -> None:
        super().__init__(f"the chain's node refused ({number}): {message}")
        self.number = number
        self.message = message
        self.data = data


class RpcDistrusted(RpcError):
    """The node contradicts what it, or another one, said before; until it doesn't, nothing is sent to it."""

    code = "ledger.rpc.distrusted"


class ChainMismatch(LedgerError):
    """The endpoint serves another chain than the one that was deployed to or read before."""

    code = "ledger.chain_mismatch"


class TransactionError(LedgerError):
    """Base of the errors of a transaction that has been signed."""

    code = "ledger.transaction"

    def __init__(self, message: str, tx: bytes) -> None:
        super().__init__(message)
        self.tx = tx


class TransactionTimeout(TransactionError, TimeoutError):
    """The transaction was sent and was not in a block in time; it may still be mined."""

    code = "ledger.transaction.timeout"


class TransactionLost(TransactionError):
    """The transaction can't be mined as signed any more, or nobody can tell what became of it."""

    code = "ledger.transaction.lost"


class TransactionFailed(TransactionError):
    """The transaction is in a block and reverted, for no reason that the contract names."""

    code = "ledger.transaction.failed"


class TransactionInvalid(LedgerError, ValueError):
    """Bytes that aren't a transaction that somebody signed."""

    code = "ledger.transaction_invalid"


class EventInvalid(LedgerError, ValueError):
    """A log that isn't what the contract's ABI says."""

    code = "ledger.event_invalid"


class DeploymentInvalid(LedgerError, ValueError):
    """A deployment file that can't be used."""

    code = "ledger.deployment_invalid"


class KeyInvalid(LedgerError, ValueError):
    """A private key that isn't one."""

    code = "ledger.key_invalid"


class QbftInvalid(LedgerError, ValueError):
    """A validator, account or number that a consortium's own chain can't be made from."""

    code = "ledger.qbft_invalid"


class IndexFault(LedgerError):
    """Base of the errors of the index of events."""

    code = "ledger.index"


class IndexMismatch(IndexFault):
    """The index is another deployment's, or another version's."""

    code = "ledger.index.mismatch"


class IndexDamaged(IndexFault):
    """The file is no index, or the database can't be used."""

    code = "ledger.index.damaged"


class IndexRewritten(IndexFault):
    """The chain's node serves other blocks than final ones that were indexed."""

    code = "ledger.index.rewritten"


class ServiceInvalid(LedgerError, ValueError):
    """The auditors' service can't be started as it was asked for."""

    code = "ledger.service_invalid"


class BundleInvalid(LedgerError, ValueError):
    """A file that is no bundle for auditors, or is larger than one may be."""

    code = "ledger.bundle_invalid"


class BundleUnmakeable(LedgerError):
    """A bundle can't be made from what the chain's node and the folder give."""

    code = "ledger.bundle_unmakeable"


class AuditFailed(LedgerError):
    """An audit that found something broken, or could not prove what it must; `details` hold the whole of it."""

    code = "ledger.audit_failed"

    def __init__(self, message: str, details: dict[str, Any]) -> None:
        super().__init__(message)
        self.details = details


class DevnetError(LedgerError):
    """The embedded devnet can't do what was asked."""

    code = "ledger.devnet"


class AnvilMissing(DevnetError):
    """There is no anvil on this machine."""

    code = "ledger.devnet.anvil_missing"


class JournalInvalid(DevnetError, ValueError):
    """The devnet's journal isn't one, or its blocks don't give the chain that it recorded."""

    code = "ledger.devnet.journal_invalid"


def snake_case(name: str) -> str:
    """Spell a Solidity name the Python way: specHash -> spec_hash, StudyTooLate -> study_too_late."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


class ContractError(LedgerError):
    """A named error of one of our contracts, its arguments as attributes.

    A subclass is called like the Solidity error and annotates the error's arguments in order, in snake case; `says`
    is its message, formatted with them. `tx` is the hash of the transaction that failed, None where a read did.
    """

    code = "ledger.contract"
    says: ClassVar[str] = "the contract refused"
    fields: ClassVar[tuple[str, ...]] = ()
    tx: bytes | None

    def __init_subclass__(cls) -> None:
        cls.code = f"ledger.contract.{snake_case(cls.__name__)}"
        cls.fields = tuple(inspect.get_annotations(cls))

    def __init__(self, *values: Any, tx: bytes | None = None) -> None:
        if len(values) != len(self.fields):
            raise TypeError(f"{type(self).__name__} takes {len(self.fields)} arguments: {', '.join(self.fields)}")
        arguments = dict(zip(self.fields, values, strict=True))
        for name, value in arguments.items():
            setattr(self, name, value)
        self.values = values
        self.tx = tx
        super().__init__(f"{type(self).__name__}: {self.says.format(**arguments)}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.values, {"tx": self.tx}
