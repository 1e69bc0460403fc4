"""The contracts' twin in Python: what is stored of a study, and the questions that every rule asks of it.

Written from contracts/src line by line, each function under the name that it has there, so that a reader can lay one
beside the other. `test_twin.py` proves on the real contracts that the two agree.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ledger.events import Event
from ledger.reverts import (
    ConsortiumLastMember,
    ConsortiumNotMember,
    RoundWrongAttempt,
    RoundWrongNumber,
    RoundWrongPhase,
    RoundWrongTerm,
    StudyNotParticipant,
    StudyWrongStatus,
)
from ledger.types import ZERO_HASH, Address, Phase, Status, Terms


class Emitted(NamedTuple):
    """An event without its place on the chain."""

    kind: type[Event]
    fields: dict[str, Any]


@dataclass(frozen=True)
class Environment:
    """What a contract can read of the transaction and the block that it runs in."""

    sender: Address
    timestamp: int
    blockhash: Callable[[int], bytes | None]


@dataclass
class Consortium:
    """The members and their seats; motions are left out, since no rule of a study reads one."""

    founders: tuple[Address, ...]
    active_seats: int = 0

    def __post_init__(self) -> None:
        self.active_seats = (1 << len(self.founders)) - 1

    def is_member(self, account: Address) -> bool:
        return account in self.founders and bool(self.active_seats >> self.founders.index(account) & 1)

    def seat_of(self, account: Address) -> int:
        if not self.is_member(account):
            raise ConsortiumNotMember(account)
        return self.founders.index(account)

    def site_at(self, seat: int) -> Address:
        return self.founders[seat]

    def vacate(self, seat: int) -> None:
        left = self.active_seats & ~(1 << seat)
        if left == 0:
            raise ConsortiumLastMember()
        self.active_seats = left


@dataclass(frozen=True)
class Site:
    """One site in one study."""

    link: bytes = ZERO_HASH
    epsilon_spent: int = 0
    from_round: int = 0
    accepted: bool = False


@dataclass
class Record:
    """One study; the fields are those of `StudyState.Record`, its cursor's among them."""

    terms: Terms
    spec_hash: bytes
    deadline: int
    status: Status = Status.PROPOSED
    phase: Phase = Phase.IDLE
    round: int = 0
    attempt: int = 0
    term: int = 0
    leader_seat: int = 0
    sealable_at: int = 0
    expired: int = 0
    collect_pace: int = 0
    merge_pace: int = 0
    review_pace: int = 0
    answered: int = 0
    participants: int = 0
    abort_votes: int = 0
    eligible: int = 0
    join_next: int = 0
    join_after: int = 0
    seed: bytes = ZERO_HASH
    last_final: bytes = ZERO_HASH
    committed: int = 0
    mix: int = 0
    failed: int = 0
    next_committed: int = 0
    next_mix: int = 0
    output: bytes = ZERO_HASH
    merged: int = 0
    attested: int = 0
    rejected: int = 0
    sites: Mapping[Address, Site] = field(default_factory=dict)

    def site(self, account: Address) -> Site:
        return self.sites.get(account, Site())


class StudyState:
    """The studies of one consortium, while one transaction runs."""

    def __init__(self, chain_id: int, address: Address, consortium: Consortium) -> None:
        self.chain_id = chain_id
        self.address = address
        self.consortium = consortium
        self.studies: dict[int, Record] = {}
        self.here = Environment("", 0, lambda _: None)
        self.emitted: list[Emitted] = []

    def emit(self, kind: type[Event], **fields: Any) -> None:
        self.emitted.append(Emitted(kind, fields))

    def status_of(self, study: int) -> Status:
        return self.studies[study].status if study in self.studies else Status.NONE

    def in_status(self, study: int, status: Status) -> Record:
        if self.status_of(study) is not status:
            raise StudyWrongStatus(study, self.status_of(study))
        return self.studies[study]

    def at(self, study: int, number: int) -> Record:
        s = self.in_status(study, Status.RUNNING)
        if s.round != number:
            raise RoundWrongNumber(number, s.round)
        return s

    def collecting(self, study: int, number: int, attempt: int) -> Record:
        s = self.at(study, number)
        if s.attempt != attempt:
            raise RoundWrongAttempt(attempt, s.attempt)
        if s.phase is not Phase.COLLECTING:
            raise RoundWrongPhase(study, s.phase)
        return s

    def led(self, study: int, number: int, term: int) -> Record:
        s = self.at(study, number)
        if s.phase is Phase.COLLECTING:
            raise RoundWrongPhase(study, Phase.COLLECTING)
        if s.term != term:
            raise RoundWrongTerm(term, s.term)
        return s

    def participating(self, study: int) -> tuple[Record, int]:
        s = self.in_status(study, Status.RUNNING)
        seat = self.consortium.seat_of(self.here.sender)
        if not s.participants >> seat & 1:
            raise StudyNotParticipant(study, self.here.sender)
        return s, seat

    def active(self, s: Record) -> int:
        return s.eligible & self.consortium.active_seats

    def deadline_in(self, period: int) -> int:
        return self.here.timestamp + period
