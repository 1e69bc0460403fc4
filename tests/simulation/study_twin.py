"""The contracts' twin in Python: typed calls in, the contracts' events or their own errors out.

Motions are left out of it, and the checks of a proposal's terms: nothing that a running study does meets them.
"""

import hashlib
from collections.abc import Callable
from copy import copy
from typing import Any

from twin_rounds import StudyRounds
from twin_state import Emitted, Environment, Record, Site

from ledger import events as e
from ledger import reverts as r
from ledger.state import genesis_seed, quorum
from ledger.types import AbortReason, Address, Phase, SiteState, Status, StudyView, Terms

_LIFE = ("accept", "decline", "start", "lapse", "withdraw", "vote_abort")
_ROUND = ("commit", "seal", "publish", "attest", "attest_and_commit", "reject", "rotate")
CALLS = frozenset(_LIFE + _ROUND)
"""The functions of the Study contract that a member may call, as `ledger.client.Ledger` spells them."""


class StudyTwin(StudyRounds):
    """The Study contract with its Consortium. `execute` runs one call, all of it or, where it is refused, nothing."""

    def execute(self, here: Environment, function: str, *args: Any) -> list[Emitted]:
        """Run a call; give its events, or raise the ContractError that the contract would."""
        calls: dict[str, Callable[..., None]] = {name: getattr(self, name) for name in (*CALLS, "propose", "leave")}
        before = {number: copy(record) for number, record in self.studies.items()}
        seats = self.consortium.active_seats
        self.here, self.emitted = here, []
        try:
            calls[function](*args)
        except r.ContractError:
            self.studies, self.consortium.active_seats = before, seats
            raise
        return self.emitted

    # -- the consortium ----------------------------------------------------------------------------------------------

    def leave(self) -> None:
        seat = self.consortium.seat_of(self.here.sender)
        self.consortium.vacate(seat)
        self.emit(e.SiteLeft, site=self.here.sender, seat=seat)

    # -- how a study comes to run, and how it ends before its time: StudyLifecycle.sol -------------------------------

    def propose(self, spec: bytes, terms: Terms) -> None:
        if not self.consortium.is_member(self.here.sender):
            raise r.ConsortiumNotMember(self.here.sender)
        study = len(self.studies) + 1
        s = Record(terms, hashlib.sha256(spec).digest(), self.deadline_in(terms.accept_seconds))
        self.studies[study] = s
        what = {"spec_hash": s.spec_hash, "terms": terms, "accept_deadline": s.deadline, "spec": spec}
        self.emit(e.StudyProposed, study=study, proposer=self.here.sender, **what)

    def accept(self, study: int, spec_hash: bytes, tip: bytes) -> None:
        s, seat = self._answering(study, spec_hash)
        sender = self.here.sender
        if s.site(sender).accepted:
            raise r.StudyAlreadyAnswered(study, sender)
        running = s.status is Status.RUNNING
        from_round = self._join(s, seat) if running else s.terms.first_round
        s.answered |= 1 << seat
        s.participants |= 1 << seat
        s.sites = {**s.sites, sender: Site(tip, 0, from_round, accepted=True)}
        where = {"study": study, "site": sender, "seat": seat}
        self.emit(e.StudyAccepted, **where, spec_hash=spec_hash, tip=tip, from_round=from_round)
        if not running:
            self._start_if_answered(study, s)

    def decline(self, study: int, spec_hash: bytes) -> None:
        s, seat = self._answering(study, spec_hash)
        if s.status is not Status.PROPOSED:
            raise r.StudyWrongStatus(study, s.status)
        if s.answered >> seat & 1:
            raise r.StudyAlreadyAnswered(study, self.here.sender)
        s.answered |= 1 << seat
        self.emit(e.StudyDeclined, study=study, site=self.here.sender, seat=seat, spec_hash=spec_hash)
        self._start_if_answered(study, s)

    def start(self, study: int) -> None:
        s = self.in_status(study, Status.PROPOSED)
        members = self.consortium.active_seats
        if self.here.timestamp <= s.deadline and members & ~s.answered:
            raise r.StudyTooEarly(s.deadline)
        sites = (s.participants & members).bit_count()
        if sites < s.terms.min_sites:
            raise r.StudyTooFewSites(sites, s.terms.min_sites)
        self._start(study, s, members)

    def lapse(self, study: int) -> None:
        s = self.in_status(study, Status.PROPOSED)
        if self.here.timestamp <= s.deadline:
            raise r.StudyTooEarly(s.deadline)
        if (s.participants & self.consortium.active_seats).bit_count() >= s.terms.min_sites:
            raise r.StudyWrongStatus(study, Status.PROPOSED)
        self._end(s, Status.ABORTED)
        self.emit(e.StudyAborted, study=study, reason=AbortReason.LAPSED)

    def withdraw(self, study: int) -> None:
        s, seat = self.participating(study)
        others = ~(1 << seat)
        s.participants &= others
        s.eligible &= others
        s.join_next &= others
        s.join_after &= others
        self.emit(e.SiteWithdrew, study=study, site=self.here.sender, seat=seat)

    def vote_abort(self, study: int) -> None:
        s, seat = self.participating(study)
        participants = s.participants & self.consortium.active_seats
        votes = s.abort_votes | 1 << seat
        needed = quorum(participants.bit_count(), s.terms.quorum_bps)
        carried = (votes & participants).bit_count() >= needed
        if votes != s.abort_votes:
            s.abort_votes = votes
            self.emit(e.AbortVoted, study=study, site=self.here.sender, seat=seat)
        elif not carried:
            raise r.StudyAlreadyVoted(study, self.here.sender)
        if carried:
            self._end(s, Status.ABORTED)
            self.emit(e.StudyAborted, study=study, reason=AbortReason.VOTED)

    def _answering(self, study: int, spec_hash: bytes) -> tuple[Record, int]:
        status = self.status_of(study)
        if status not in (Status.PROPOSED, Status.RUNNING):
            raise r.StudyWrongStatus(study, status)
        s = self.studies[study]
        seat = self.consortium.seat_of(self.here.sender)
        if spec_hash != s.spec_hash:
            raise r.StudyWrongSpecification(spec_hash, s.spec_hash)
        if status is Status.PROPOSED and self.here.timestamp > s.deadline:
            raise r.StudyTooLate(s.deadline)
        return s, seat

    @staticmethod
    def _join(s: Record, seat: int) -> int:
        reviewing = s.phase is Phase.REVIEWING
        from_round = s.round + (2 if reviewing else 1)
        if from_round > s.terms.rounds:
            raise r.StudyTooLate(s.deadline)
        if reviewing:
            s.join_after |= 1 << seat
        else:
            s.join_next |= 1 << seat
        return from_round

    def _start_if_answered(self, study: int, s: Record) -> None:
        members = self.consortium.active_seats
        if members & ~s.answered == 0 and (s.participants & members).bit_count() >= s.terms.min_sites:
            self._start(study, s, members)

    def _start(self, study: int, s: Record, members: int) -> None:
        s.status = Status.RUNNING
        s.seed = genesis_seed(self.chain_id, self.address, study, s.spec_hash)
        s.eligible = s.participants
        self.emit(e.StudyStarted, study=study, participants=s.participants & members, seed=s.seed)
        self._open_round(study, s, s.terms.first_round)

    # -- views -------------------------------------------------------------------------------------------------------

    def view_study(self, study: int) -> StudyView:
        s = self.studies[study]
        return StudyView(
            status=s.status,
            phase=s.phase,
            round=s.round,
            attempt=s.attempt,
            term=s.term,
            leader_seat=s.leader_seat,
            deadline=s.deadline,
            sealable_at=s.sealable_at,
            eligible=self.active(s),
            committed=s.committed,
            attested=s.attested,
            rejected=s.rejected,
            next_committed=s.next_committed,
            seed=s.seed,
            output=s.output,
            last_final=s.last_final,
            spec_hash=s.spec_hash,
        )

    def site_state(self, study: int, account: Address) -> SiteState:
        site = self.studies[study].site(account)
        return SiteState(site.link, site.epsilon_spent, site.accepted, site.from_round)
