"""The values that travel between the contracts and Python."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

Address = str
"""An account, 0x and 40 hex digits with the EIP-55 checksum."""

ZERO_HASH = bytes(32)
MAX_SEATS = 256


class Status(IntEnum):
    """Where a study is in its life."""

    NONE = 0
    PROPOSED = 1
    RUNNING = 2
    FINISHED = 3
    ABORTED = 4


class Phase(IntEnum):
    """What a running study's round waits for."""

    IDLE = 0
    COLLECTING = 1
    MERGING = 2
    REVIEWING = 3


class Fault(IntEnum):
    """Why a leader's term ended without a final model."""

    MERGE_TIMEOUT = 0
    REVIEW_TIMEOUT = 1
    REJECTED = 2
    NOT_MEMBER = 3


class AbortReason(IntEnum):
    """Why a study ended without a final model."""

    LAPSED = 0
    VOTED = 1


class MotionKind(IntEnum):
    """What a motion asks for."""

    ADMIT = 0
    REMOVE = 1


class MotionState(IntEnum):
    """What became of a motion."""

    NONE = 0
    OPEN = 1
    PASSED = 2
    REJECTED = 3


@dataclass(frozen=True, slots=True)
class Founder:
    """A founding site: its account and its name."""

    account: Address
    name: str


@dataclass(frozen=True, slots=True)
class Terms:
    """The part of a study's specification that the contract enforces; the fields are those of `IStudy.Terms`."""

    rounds: int
    statistics: bool
    min_sites: int
    quorum_bps: int
    accept_seconds: int
    collect_seconds: int
    grace_seconds: int
    merge_seconds: int
    review_seconds: int
    least_seconds: int
    weight_cap: int
    epsilon_budget: int
    clip_bound: int

    @property
    def first_round(self) -> int:
        """0 where the statistics round runs first, otherwise 1."""
        return 0 if self.statistics else 1


@dataclass(frozen=True, slots=True)
class Commitment:
    """What a site puts on record for one round; the fields are those of `IStudy.Commitment`."""

    blob: bytes
    weight: int
    epsilon_spent: int
    reveal: bytes
    seen_block: int
    seen_hash: bytes


@dataclass(frozen=True, slots=True)
class StudyView:
    """Where a study stands, as the contract tells it; the fields are those of `IStudy.View`."""

    status: Status
    phase: Phase
    round: int
    attempt: int
    term: int
    leader_seat: int
    deadline: int
    sealable_at: int
    eligible: int
    committed: int
    attested: int
    rejected: int
    next_committed: int
    seed: bytes
    output: bytes
    last_final: bytes
    spec_hash: bytes


@dataclass(frozen=True, slots=True)
class SiteState:
    """A site in a study: the last link it revealed (its tip before the first reveal) and the epsilon it has spent."""

    link: bytes
    epsilon_spent: int
    accepted: bool
    from_round: int


@dataclass(frozen=True, slots=True)
class Block:
    """A block's number, hash and timestamp (seconds of chain time)."""

    number: int
    hash: bytes
    timestamp: int


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where an event stands in the chain; positions of one chain sort in its order. `timestamp` is the block's."""

    block: int
    log_index: int
    tx: bytes
    block_hash: bytes
    timestamp: int


def seats_of(bitmap: int) -> Iterator[int]:
    """Give the seats in a bitmap, ascending."""
    while bitmap:
        lowest = bitmap & -bitmap
        yield lowest.bit_length() - 1
        bitmap ^= lowest


def bitmap_of(*seats: int) -> int:
    """Make the bitmap of some seats."""
    bitmap = 0
    for seat in seats:
        bitmap |= 1 << seat
    return bitmap
