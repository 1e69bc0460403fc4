"""One dataclass for each event of the contracts, named as there, and their decoder from raw JSON logs."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from ledger import abi
from ledger.errors import EventInvalid
from ledger.types import AbortReason, Address, Commitment, Fault, MotionKind, MotionState, Position, Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that the ledger has recorded, and where."""

    at: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsortiumEvent(Event):
    """Base of the Consortium contract's events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyEvent(Event):
    """Base of the Study contract's events; `study` says which study."""

    study: int


# -- Consortium ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsortiumFounded(ConsortiumEvent):
    """The consortium exists, under these rules."""

    quorum_bps: int
    motion_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteAdmitted(ConsortiumEvent):
    """A site became a member; founders too."""

    site: Address
    seat: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteLeft(ConsortiumEvent):
    """A member left of its own will."""

    site: Address
    seat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRemoved(ConsortiumEvent):
    """The members removed a site."""

    site: Address
    seat: int
    motion: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressesPublished(ConsortiumEvent):
    """The multiaddrs under which a site can be dialled; replaces what it published before."""

    site: Address
    multiaddrs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionOpened(ConsortiumEvent):
    """A vote began; `text` is the applicant's name, or the reason for a removal."""

    motion: int
    kind: MotionKind
    subject: Address
    opener: Address
    text: str
    deadline: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteCast(ConsortiumEvent):
    """A member voted on a motion."""

    motion: int
    voter: Address
    approve: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionClosed(ConsortiumEvent):
    """A motion was decided."""

    motion: int
    state: MotionState


# -- Study: its life -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyProposed(StudyEvent):
    """A study was proposed; `spec` is its canonical specification, `spec_hash` its SHA-256."""

    proposer: Address
    spec_hash: bytes
    terms: Terms
    accept_deadline: int
    spec: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyAccepted(StudyEvent):
    """A site accepted, with the tip of its hash chain; it takes part from `from_round`."""

    site: Address
    seat: int
    spec_hash: bytes
    tip: bytes
    from_round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyDeclined(StudyEvent):
    """A site declined."""

    site: Address
    seat: int
    spec_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyStarted(StudyEvent):
    """The study runs, with these seats."""

    participants: int
    seed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteWithdrew(StudyEvent):
    """A site left the study for good."""

    site: Address
    seat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFinished(StudyEvent):
    """The last round is final."""

    output: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortVoted(StudyEvent):
    """A site voted to abort."""

    site: Address
    seat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyAborted(StudyEvent):
    """The study ended without a final model."""

    reason: AbortReason


# -- Study: its rounds -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundEvent(StudyEvent):
    """Base of the events of one round."""

    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundOpened(RoundEvent):
    """A round collects updates from the eligible seats."""

    attempt: int
    eligible: int
    deadline: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateCommitted(RoundEvent):
    """A site committed an update."""

    site: Address
    attempt: int
    seat: int
    commitment: Commitment


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundExtended(RoundEvent):
    """Too few sites committed in time; the deadline moved."""

    attempt: int
    committed: int
    deadline: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundSealed(RoundEvent):
    """The set of inputs is settled, and with it the seed of the election."""

    attempt: int
    committed: int
    seed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderElected(RoundEvent):
    """A term began."""

    leader: Address
    term: int
    seat: int
    deadline: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPublished(RoundEvent):
    """The leader published the merged model: its hash, the seats merged, and a reason for each one left out."""

    leader: Address
    term: int
    output: bytes
    merged: int
    reasons: bytes
    deadline: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputAttested(RoundEvent):
    """A site verified the output and attests to it."""

    site: Address
    term: int
    seat: int
    output: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputRejected(RoundEvent):
    """A site verified the output and rejects it."""

    site: Address
    term: int
    seat: int
    output: bytes
    reason: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitsVoided(RoundEvent):
    """Commits for `round` that were made on an output which did not become final."""

    voided: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderFailed(RoundEvent):
    """A term ended without a final model."""

    leader: Address
    term: int
    fault: Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRetried(RoundEvent):
    """Every candidate failed; the round collects anew."""

    attempt: int
    deadline: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundFinalised(RoundEvent):
    """A quorum attested; the output is final."""

    term: int
    output: bytes
    merged: int
    attested: int


@cache
def _shapes(contract: str) -> dict[str, tuple[type[Event], abi.EventShape]]:
    """Give the class and shape of each event of a contract, by topic in hex."""
    shapes = abi.interface(contract).events.values()
    return {"0x" + shape.topic.hex(): (globals()[shape.name], shape) for shape in shapes}


def _bytes(text: str) -> bytes:
    if not text.startswith("0x"):
        raise ValueError("hex without 0x")
    return bytes.fromhex(text[2:])


def _word(text: str) -> bytes:
    word = _bytes(text)
    if len(word) != 32:
        raise ValueError(f"{len(word)} bytes where 32 are needed")
    return word


def _position(log: Mapping[str, Any], timestamp: int | None) -> Position:
    if timestamp is None:
        timestamp = int(log["blockTimestamp"], 16)
    return Position(
        block=int(log["blockNumber"], 16),
        log_index=int(log["logIndex"], 16),
        tx=_word(log["transactionHash"]),
        block_hash=_word(log["blockHash"]),
        timestamp=timestamp,
    )


def decode_log(contract: str, log: Mapping[str, Any], timestamp: int | None = None) -> Event:
    """Decode one raw JSON log that "Consortium" or "Study" wrote.

    Pass the block's `timestamp` where the node doesn't add `blockTimestamp` to its logs. Raises EventInvalid.
    """
    try:
        cls, shape = _shapes(contract)[log["topics"][0]]
        values: dict[str, Any] = {}
        for (name, parameter), topic in zip(shape.topics, log["topics"][1:], strict=True):
            values[name] = parameter.decode(_word(topic))[0]
        decoded = shape.data.decode(_bytes(log["data"]))
        values.update((item.name, value) for item, value in zip(shape.data.items, decoded, strict=True))
        return cls(at=_position(log, timestamp), **values)
    except (*abi.MALFORMED, IndexError, AttributeError) as error:
        where = (log.get("blockNumber"), log.get("logIndex")) if isinstance(log, Mapping) else log
        raise EventInvalid(
            f"a log of {contract} at (block, index) {where} does not fit its ABI ({type(error).__name__}: {error}); "
            "the address is another contract's, or this program is of another version than the contract"
        ) from error
