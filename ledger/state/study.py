"""A study: its specification and terms, who takes part, the round that is on and those before it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from ledger.errors import EventInvalid
from ledger.events import (
    AbortVoted,
    CommitsVoided,
    LeaderElected,
    RoundEvent,
    RoundOpened,
    RoundSealed,
    SiteWithdrew,
    StudyAborted,
    StudyAccepted,
    StudyDeclined,
    StudyEvent,
    StudyFinished,
    StudyProposed,
    StudyStarted,
    UpdateCommitted,
)
from ledger.state.election import quorum
from ledger.state.round import Commit, RoundState
from ledger.types import ZERO_HASH, AbortReason, Address, Phase, Position, Status, StudyView, Terms, bitmap_of


@dataclass(frozen=True, slots=True)
class Participant:
    """A site that accepted. `link` is what it revealed last (its tip at first), and `revealed` how many links so far:
    its place on its hash chain. Commits that were voided count, too.
    """

    account: Address
    seat: int
    tip: bytes
    link: bytes
    from_round: int
    accepted: Position
    revealed: int = 0
    epsilon_spent: int = 0
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class StudyState:
    """A study after some events. `rounds` are all rounds, the last one the present one; `upcoming` are commits for the
    round after it, made together with an attestation, by seat; `voided` those of them that came to nothing. `active`
    are the consortium's members, `seed` and `leader_seat` those of the last election.
    """

    number: int
    proposer: Address
    spec: bytes
    spec_hash: bytes
    terms: Terms
    accept_deadline: int
    proposed: Position
    active: int
    status: Status = Status.PROPOSED
    sites: Mapping[Address, Participant] = field(default_factory=dict)
    declined: frozenset[Address] = frozenset()
    abort_votes: frozenset[Address] = frozenset()
    seed: bytes = ZERO_HASH
    leader_seat: int = 0
    rounds: tuple[RoundState, ...] = ()
    upcoming: Mapping[int, Commit] = field(default_factory=dict)
    voided: tuple[Commit, ...] = ()
    final_output: bytes | None = None
    abort_reason: AbortReason | None = None
    ended: Position | None = None

    @classmethod
    def proposed_by(cls, event: StudyProposed, active: int) -> "StudyState":
        """The study as proposed, when these seats were members'."""
        return cls(
            number=event.study,
            proposer=event.proposer,
            spec=event.spec,
            spec_hash=event.spec_hash,
            terms=event.terms,
            accept_deadline=event.accept_deadline,
            proposed=event.at,
            active=active,
        )

    @property
    def round(self) -> RoundState:
        """The present round; raises IndexError before the study has started."""
        return self.rounds[-1]

    @property
    def phase(self) -> Phase:
        """What the present round waits for."""
        return self.round.phase if self.rounds and self.status is Status.RUNNING else Phase.IDLE

    @property
    def eligible(self) -> int:
        """Bitmap of the seats that take part in the present round and are members now; 0 where none is on."""
        if self.phase is Phase.IDLE:
            return 0
        number = self.round.number
        seats = (site.seat for site in self.sites.values() if not site.withdrawn and site.from_round <= number)
        return bitmap_of(*seats) & self.active

    @property
    def voters(self) -> int:
        """Bitmap of the seats whose reviews count: committed in the present round, and still eligible."""
        return self.round.committed & self.eligible if self.rounds else 0

    @property
    def quorum(self) -> int:
        """Attestations that make the present round final."""
        return quorum(self.voters.bit_count(), self.terms.quorum_bps)

    @property
    def candidates(self) -> int:
        """Bitmap of the seats that could lead the term after the present one."""
        if not self.rounds:
            return 0
        present = 0 if self.round.term is None else bitmap_of(self.round.term.seat)
        return self.voters & ~self.round.failed & ~present

    @property
    def last_final(self) -> bytes:
        """The output of the last final round; zero before there is one."""
        return next((one.final.output for one in reversed(self.rounds) if one.final is not None), ZERO_HASH)

    def view(self) -> StudyView:
        """Give what the contract's `viewStudy` says after the same events."""
        is_on = self.phase is not Phase.IDLE
        present = self.rounds[-1] if self.rounds else None
        term = present.term if present is not None else None
        under_review = present.publication if present is not None and is_on else None
        return StudyView(
            status=self.status,
            phase=self.phase,
            round=present.number if present is not None else 0,
            attempt=present.attempt if present is not None else 0,
            term=term.number if term is not None else 0,
            leader_seat=self.leader_seat,
            deadline=present.deadline if present is not None else self.accept_deadline,
            sealable_at=present.sealable_at if present is not None else 0,
            eligible=self.eligible,
            committed=present.committed if present is not None and is_on else 0,
            attested=bitmap_of(*term.attested) if term is not None and is_on else 0,
            rejected=bitmap_of(*term.rejected) if term is not None and is_on else 0,
            next_committed=bitmap_of(*self.upcoming) if is_on else 0,
            seed=self.seed,
            output=under_review.output if under_review is not None else ZERO_HASH,
            last_final=self.last_final,
            spec_hash=self.spec_hash,
        )

    def round_numbered(self, number: int) -> RoundState:
        """A round by its number; raises KeyError where it wasn't opened."""
        index = number - self.terms.first_round
        if not 0 <= index < len(self.rounds):
            raise KeyError(f"round {number} of study {self.number} was not opened")
        return self.rounds[index]

    def output_of(self, number: int) -> bytes | None:
        """The final output of a round, if it has one."""
        index = number - self.terms.first_round
        final = self.rounds[index].final if 0 <= index < len(self.rounds) else None
        return final.output if final is not None else None

    def participant_at(self, seat: int) -> Participant:
        """Who sits on a seat; raises KeyError where no participant does."""
        for participant in self.sites.values():
            if participant.seat == seat:
                return participant
        raise KeyError(f"nobody on seat {seat} takes part in study {self.number}")

    def knows(self, blob: bytes) -> bool:
        """Whether the ledger ties a blob to this study: an input or an output of one of its rounds."""
        return any(blob == known for known in self._blobs())

    def _blobs(self) -> Iterator[bytes]:
        """Every input and output, the newest first: those are asked for most."""
        for commit in self.upcoming.values():
            yield commit.commitment.blob
        for number_round in reversed(self.rounds):
            for commit in number_round.all_commits():
                yield commit.commitment.blob
            for term in number_round.terms:
                if term.publication is not None:
                    yield term.publication.output

    def apply(self, event: StudyEvent) -> "StudyState":
        """Give the study after one more of its events; raises EventInvalid where it can't come next."""
        try:
            return self._apply(event)
        except LookupError as error:
            raise EventInvalid(f"{type(event).__name__} at {event.at} can't come next: {error}") from error

    def _apply(self, event: StudyEvent) -> "StudyState":
        match event:
            case StudyAccepted():
                site = Participant(event.site, event.seat, event.tip, event.tip, event.from_round, event.at)
                return self._with_site(site)
            case StudyDeclined(site=account):
                return replace(self, declined=self.declined | {account})
            case StudyStarted(seed=seed):
                return replace(self, status=Status.RUNNING, seed=seed)
            case SiteWithdrew(site=account):
                return self._with_site(replace(self.sites[account], withdrawn=True))
            case AbortVoted(site=account):
                return replace(self, abort_votes=self.abort_votes | {account})
            case StudyAborted(reason=reason):
                return replace(self, status=Status.ABORTED, abort_reason=reason, ended=event.at)
            case StudyFinished(output=output):
                return replace(self, status=Status.FINISHED, final_output=output, ended=event.at)
            case RoundOpened():
                return self._opened(event)
            case UpdateCommitted():
                return self._committed(event)
            case CommitsVoided():
                return replace(self, upcoming={}, voided=(*self.voided, *self.upcoming.values()))
            case RoundSealed(seed=seed):
                return replace(self._with_round(self._applied(event)), seed=seed)
            case LeaderElected(seat=seat):
                return replace(self._with_round(self._applied(event)), leader_seat=seat)
            case RoundEvent():
                return self._with_round(self._applied(event))
            case _:
                return self

    def _applied(self, event: RoundEvent) -> RoundState:
        if event.round != self.round.number:
            raise LookupError(f"round {event.round} while round {self.round.number} is on")
        terms = self.terms
        return self.round.apply(
            event, active=self.eligible, min_sites=terms.min_sites, grace_seconds=terms.grace_seconds
        )

    def _opened(self, event: RoundOpened) -> "StudyState":
        opened = RoundState(
            number=event.round,
            eligible=event.eligible,
            deadline=event.deadline,
            opened=event.at,
            sealable_at=event.deadline,
            attempt=event.attempt,
            commits=self.upcoming,
        )
        opened = opened.with_grace(event.at.timestamp, event.eligible, self.terms.min_sites, self.terms.grace_seconds)
        return replace(self, rounds=(*self.rounds, opened), upcoming={})

    def _committed(self, event: UpdateCommitted) -> "StudyState":
        site = self.sites[event.site]
        spent = replace(
            site,
            link=event.commitment.reveal,
            revealed=site.revealed + 1,
            epsilon_spent=event.commitment.epsilon_spent,
        )
        booked = self._with_site(spent)
        if event.round != self.round.number + 1:
            return booked._with_round(self._applied(event))
        commit = Commit(event.site, event.seat, event.attempt, event.commitment, event.at)
        return replace(booked, upcoming={**self.upcoming, event.seat: commit})

    def _with_site(self, site: Participant) -> "StudyState":
        return replace(self, sites={**self.sites, site.account: site})

    def _with_round(self, present: RoundState) -> "StudyState":
        return replace(self, rounds=(*self.rounds[:-1], present))
