"""One round of a study, from its first commit to its final output, with everything that went wrong on the way."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ledger.events import (
    LeaderElected,
    LeaderFailed,
    ModelPublished,
    OutputAttested,
    OutputRejected,
    RoundEvent,
    RoundExtended,
    RoundFinalised,
    RoundRetried,
    RoundSealed,
    UpdateCommitted,
)
from ledger.types import Address, Commitment, Fault, Phase, Position, bitmap_of, seats_of


@dataclass(frozen=True, slots=True)
class Commit:
    """One site's commitment."""

    site: Address
    seat: int
    attempt: int
    commitment: Commitment
    at: Position


@dataclass(frozen=True, slots=True)
class Seal:
    """The settled set of an attempt's inputs, and the seed of its elections."""

    attempt: int
    committed: int
    seed: bytes
    at: Position


@dataclass(frozen=True, slots=True)
class Publication:
    """What a leader published."""

    output: bytes
    merged: int
    reasons: bytes
    deadline: int
    at: Position


@dataclass(frozen=True, slots=True)
class Term:
    """One leader's term. `attested` are seats, `rejected` the reasons by seat; `fault` is why it ended in failure."""

    number: int
    attempt: int
    leader: Address
    seat: int
    deadline: int
    at: Position
    publication: Publication | None = None
    attested: frozenset[int] = frozenset()
    rejected: Mapping[int, int] = field(default_factory=dict)
    fault: Fault | None = None
    ended: Position | None = None


@dataclass(frozen=True, slots=True)
class Final:
    """A round's final output."""

    term: int
    output: bytes
    merged: int
    attested: int
    at: Position


@dataclass(frozen=True, slots=True)
class RoundState:
    """A round after some events.

    `commits` are those of the present attempt, by seat; `superseded` those of attempts before it. `sealed` is the
    bitmap that the election was held among, 0 before; `seals` has all attempts that came so far. `deadline` is the
    phase's, `sealable_at` says when a round that has enough commits need wait no longer, both in seconds of chain time.
    """

    number: int
    eligible: int
    deadline: int
    opened: Position
    sealable_at: int
    attempt: int = 0
    phase: Phase = Phase.COLLECTING
    commits: Mapping[int, Commit] = field(default_factory=dict)
    superseded: tuple[Commit, ...] = ()
    sealed: int = 0
    sealed_at: Position | None = None
    seed: bytes = b""
    seals: tuple[Seal, ...] = ()
    terms: tuple[Term, ...] = ()
    extensions: int = 0
    final: Final | None = None

    @property
    def committed(self) -> int:
        """Bitmap of the present attempt's commits; once sealed, of those that count."""
        return self.sealed or bitmap_of(*self.commits)

    @property
    def term(self) -> Term | None:
        """The present term; None while the round collects."""
        return self.terms[-1] if self.terms and self.phase is not Phase.COLLECTING else None

    @property
    def leader(self) -> Address | None:
        """Who leads the present term."""
        return self.term.leader if self.term is not None else None

    @property
    def publication(self) -> Publication | None:
        """What is under review."""
        return self.term.publication if self.term is not None else None

    @property
    def failed(self) -> int:
        """Bitmap of the seats whose terms in the present attempt ended without a final model."""
        return bitmap_of(*(term.seat for term in self.terms if term.attempt == self.attempt and term.fault is not None))

    @property
    def left_out(self) -> dict[int, int]:
        """Reason by seat for each commit that is not in the present publication."""
        if self.publication is None:
            return {}
        return dict(zip(seats_of(self.committed & ~self.publication.merged), self.publication.reasons, strict=True))

    def all_commits(self) -> tuple[Commit, ...]:
        """Every commit of every attempt."""
        return (*self.superseded, *self.commits.values())

    def apply(self, event: RoundEvent, *, active: int, min_sites: int, grace_seconds: int) -> "RoundState":
        """Give the round after one more of its events; `active` are the seats that count now."""
        match event:
            case UpdateCommitted():
                commit = Commit(event.site, event.seat, event.attempt, event.commitment, event.at)
                joined = replace(self, commits={**self.commits, event.seat: commit})
                return joined.with_grace(event.at.timestamp, active, min_sites, grace_seconds)
            case RoundExtended(deadline=deadline):
                return replace(self, deadline=deadline, sealable_at=deadline, extensions=self.extensions + 1)
            case RoundSealed(committed=committed, seed=seed):
                seals = (*self.seals, Seal(event.attempt, committed, seed, event.at))
                return replace(self, sealed=committed, seed=seed, sealed_at=event.at, seals=seals)
            case LeaderElected():
                term = Term(event.term, self.attempt, event.leader, event.seat, event.deadline, event.at)
                return replace(self, terms=(*self.terms, term), phase=Phase.MERGING, deadline=event.deadline)
            case ModelPublished():
                publication = Publication(event.output, event.merged, event.reasons, event.deadline, event.at)
                term = replace(self.terms[-1], publication=publication, attested=frozenset((self.terms[-1].seat,)))
                return replace(self._with_term(term), phase=Phase.REVIEWING, deadline=event.deadline)
            case OutputAttested(seat=seat):
                term = self.terms[-1]
                return self._with_term(replace(term, attested=term.attested | {seat}))
            case OutputRejected(seat=seat, reason=reason):
                term = self.terms[-1]
                return self._with_term(replace(term, rejected={**term.rejected, seat: reason}))
            case LeaderFailed(fault=fault):
                return self._with_term(replace(self.terms[-1], fault=fault, ended=event.at))
            case RoundRetried(attempt=attempt, deadline=deadline):
                return replace(
                    self,
                    attempt=attempt,
                    phase=Phase.COLLECTING,
                    commits={},
                    superseded=self.all_commits(),
                    sealed=0,
                    sealed_at=None,
                    deadline=deadline,
                    sealable_at=deadline,
                )
            case RoundFinalised():
                final = Final(event.term, event.output, event.merged, event.attested, event.at)
                done = self._with_term(replace(self.terms[-1], ended=event.at))
                return replace(done, final=final, phase=Phase.IDLE)
            case _:
                return self

    def with_grace(self, timestamp: int, active: int, min_sites: int, grace_seconds: int) -> "RoundState":
        """Start the grace time where the commit at this timestamp was the one that makes the round possible."""
        if self.sealable_at != self.deadline or (self.committed & active).bit_count() < min_sites:
            return self
        return replace(self, sealable_at=min(self.deadline, timestamp + grace_seconds))

    def _with_term(self, term: Term) -> "RoundState":
        return replace(self, terms=(*self.terms[:-1], term))
