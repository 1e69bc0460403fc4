"""The contracts' twin in Python: the rules of a round, as in contracts/src/StudyRounds.sol."""

from dataclasses import replace

import twin_pace
from twin_state import Record, StudyState

from ledger import events as e
from ledger import reverts as r
from ledger.abi import keccak256
from ledger.state import contribution, elect, next_seed, quorum
from ledger.types import ZERO_HASH, Commitment, Fault, Phase, Status


class StudyRounds(StudyState):
    # -- collecting --------------------------------------------------------------------------------------------------

    def commit(self, study: int, number: int, attempt: int, commitment: Commitment) -> None:
        s = self.collecting(study, number, attempt)
        sender = self.here.sender
        seat = self.consortium.seat_of(sender)
        active = self.active(s)
        if not active >> seat & 1:
            raise r.RoundNotEligible(number, sender)
        if s.committed >> seat & 1:
            raise r.RoundAlreadyCommitted(number, sender)
        s.mix ^= self._spend(s, seat, commitment)
        s.committed |= 1 << seat
        where = {"study": study, "round": number, "site": sender, "attempt": attempt, "seat": seat}
        self.emit(e.UpdateCommitted, **where, commitment=commitment)
        self._start_grace(s, active)
        self._seal_if_complete(study, s, active)

    def seal(self, study: int, number: int, attempt: int) -> None:
        s = self.collecting(study, number, attempt)
        active = self.active(s)
        if (s.committed & active).bit_count() >= s.terms.min_sites:
            if active & ~s.committed and self.here.timestamp < s.sealable_at:
                raise r.RoundNotSealable(s.sealable_at)
            self._seal(study, s, active)
            return
        if self.here.timestamp < s.deadline:
            raise r.RoundNotSealable(s.deadline)
        self._expire(s)
        self._set_collect_deadline(s)
        where = {"study": study, "round": number, "attempt": attempt}
        self.emit(e.RoundExtended, **where, committed=s.committed, deadline=s.deadline)

    def _spend(self, s: Record, seat: int, c: Commitment) -> int:
        site = s.site(self.here.sender)
        if c.blob == ZERO_HASH:
            raise r.CommitInvalidBlob()
        if not 0 < c.weight <= s.terms.weight_cap:
            raise r.CommitInvalidWeight(c.weight, s.terms.weight_cap)
        if c.epsilon_spent < site.epsilon_spent:
            raise r.CommitEpsilonDecreased(c.epsilon_spent, site.epsilon_spent)
        if c.epsilon_spent > s.terms.epsilon_budget:
            raise r.CommitEpsilonBudgetExceeded(c.epsilon_spent, s.terms.epsilon_budget)
        if keccak256(c.reveal) != site.link:
            raise r.CommitStaleReveal(c.reveal, site.link)
        actual = self.here.blockhash(c.seen_block)
        if actual is None:
            raise r.CommitUnknownBlock(c.seen_block)
        if actual != c.seen_hash:
            raise r.CommitOtherHistory(c.seen_block, c.seen_hash, actual)
        spent = replace(site, link=c.reveal, epsilon_spent=c.epsilon_spent)
        s.sites = {**s.sites, self.here.sender: spent}
        return int.from_bytes(contribution(seat, c.reveal), "big")

    def _start_grace(self, s: Record, active: int) -> None:
        if s.sealable_at != s.deadline or (s.committed & active).bit_count() < s.terms.min_sites:
            return
        s.sealable_at = min(s.deadline, self.deadline_in(s.terms.grace_seconds))

    def _seal_if_complete(self, study: int, s: Record, active: int) -> None:
        if not active & ~s.committed and active.bit_count() >= s.terms.min_sites:
            self._seal(study, s, active)

    def _seal(self, study: int, s: Record, active: int) -> None:
        s.seed = next_seed(s.seed, s.mix.to_bytes(32, "big"), s.round, s.attempt)
        s.committed &= active
        if s.round != 0:
            self._measure_collection(s, s.committed == active)
        s.mix = 0
        where = {"study": study, "round": s.round, "attempt": s.attempt}
        self.emit(e.RoundSealed, **where, committed=s.committed, seed=s.seed)
        self._elect(study, s, s.committed)

    # -- merging -----------------------------------------------------------------------------------------------------

    def publish(self, study: int, number: int, term: int, output: bytes, merged: int, reasons: bytes) -> None:
        s = self.led(study, number, term)
        sender, seat = self.here.sender, s.leader_seat
        if s.phase is not Phase.MERGING:
            raise r.RoundWrongPhase(study, s.phase)
        if sender != (leader := self.consortium.site_at(seat)):
            raise r.PublishNotLeader(sender, leader)
        if not self.active(s) >> seat & 1:
            raise r.StudyNotParticipant(study, sender)
        if output == ZERO_HASH:
            raise r.PublishInvalidOutput()
        self._check_merged(s, merged, len(reasons))
        s.phase = Phase.REVIEWING
        if number != 0:
            self._measure_merge(s)
        s.deadline = self.deadline_in(self._review_period(s))
        s.output, s.merged, s.attested = output, merged, 1 << seat
        where = {"study": study, "round": number, "leader": sender, "term": term}
        said = {"output": output, "merged": merged, "reasons": reasons, "deadline": s.deadline}
        self.emit(e.ModelPublished, **where, **said)
        self._settle(study, s)

    @staticmethod
    def _check_merged(s: Record, merged: int, reasons: int) -> None:
        if merged & ~s.committed:
            raise r.PublishNotCommitted(merged, s.committed)
        if merged.bit_count() < s.terms.min_sites:
            raise r.PublishTooFewMerged(merged.bit_count(), s.terms.min_sites)
        left_out = (s.committed & ~merged).bit_count()
        if reasons != left_out:
            raise r.PublishInvalidReasons(reasons, left_out)

    # -- reviewing ---------------------------------------------------------------------------------------------------

    def attest(self, study: int, number: int, term: int, output: bytes) -> None:
        s, seat = self._reviewing(study, number, term, output)
        self._attest(study, s, seat)
        self._settle(study, s)

    def attest_and_commit(self, study: int, number: int, term: int, output: bytes, commitment: Commitment) -> None:
        s, seat = self._reviewing(study, number, term, output)
        if number == s.terms.rounds:
            raise r.RoundWrongNumber(number + 1, number)
        self._attest(study, s, seat)
        s.next_mix ^= self._spend(s, seat, commitment)
        s.next_committed |= 1 << seat
        where = {"study": study, "round": number + 1, "site": self.here.sender, "attempt": 0, "seat": seat}
        self.emit(e.UpdateCommitted, **where, commitment=commitment)
        self._settle(study, s)

    def reject(self, study: int, number: int, term: int, output: bytes, reason: int) -> None:
        s, seat = self._reviewing(study, number, term, output)
        s.rejected |= 1 << seat
        where = {"study": study, "round": number, "site": self.here.sender, "term": term, "seat": seat}
        self.emit(e.OutputRejected, **where, output=output, reason=reason)
        self._settle(study, s)

    def rotate(self, study: int, number: int, term: int) -> None:
        s = self.led(study, number, term)
        reviewing = s.phase is Phase.REVIEWING
        if reviewing and self._settle(study, s):
            return
        active = self.active(s)
        if not active >> s.leader_seat & 1:
            self._end_term(study, s, active, Fault.NOT_MEMBER)
            return
        if self.here.timestamp <= s.deadline:
            raise r.StudyTooEarly(s.deadline)
        self._end_term(study, s, active, Fault.REVIEW_TIMEOUT if reviewing else Fault.MERGE_TIMEOUT)

    def _reviewing(self, study: int, number: int, term: int, output: bytes) -> tuple[Record, int]:
        s = self.led(study, number, term)
        sender = self.here.sender
        if s.phase is not Phase.REVIEWING:
            raise r.RoundWrongPhase(study, s.phase)
        seat = self.consortium.seat_of(sender)
        if not (s.committed & s.eligible) >> seat & 1:
            raise r.ReviewNotCommitter(number, sender)
        if (s.attested | s.rejected) >> seat & 1:
            raise r.ReviewAlreadyVoted(number, sender)
        if output != s.output:
            raise r.ReviewWrongOutput(output, s.output)
        return s, seat

    def _attest(self, study: int, s: Record, seat: int) -> None:
        s.attested |= 1 << seat
        where = {"study": study, "round": s.round, "site": self.here.sender, "term": s.term, "seat": seat}
        self.emit(e.OutputAttested, **where, output=s.output)

    def _settle(self, study: int, s: Record) -> bool:
        active = self.active(s)
        voters = s.committed & active
        needed = quorum(voters.bit_count(), s.terms.quorum_bps)
        attested = s.attested & voters
        if voters.bit_count() >= s.terms.min_sites and attested.bit_count() >= needed:
            self._finalise(study, s, attested)
        elif voters and (voters & ~s.rejected).bit_count() < needed:
            self._end_term(study, s, active, Fault.REJECTED)
        else:
            return False
        return True

    # -- from term to term, and from round to round ------------------------------------------------------------------

    def _elect(self, study: int, s: Record, candidates: int) -> None:
        s.leader_seat = elect(s.seed, s.term, candidates)
        s.phase = Phase.MERGING
        s.deadline = self.deadline_in(self._merge_period(s))
        leader = {"leader": self.consortium.site_at(s.leader_seat), "seat": s.leader_seat}
        self.emit(e.LeaderElected, study=study, round=s.round, **leader, term=s.term, deadline=s.deadline)

    def _end_term(self, study: int, s: Record, active: int, fault: Fault) -> None:
        leader = self.consortium.site_at(s.leader_seat)
        self.emit(e.LeaderFailed, study=study, round=s.round, leader=leader, term=s.term, fault=fault)
        if s.next_committed:
            self.emit(e.CommitsVoided, study=study, round=s.round + 1, voided=s.next_committed)
            s.next_committed = s.next_mix = 0
        if fault in (Fault.MERGE_TIMEOUT, Fault.REVIEW_TIMEOUT):
            self._expire(s)
        self._clear_term(s)
        failed = s.failed | 1 << s.leader_seat
        candidates = s.committed & active & ~failed
        if candidates:
            s.failed = failed
            s.term += 1
            self._elect(study, s, candidates)
            return
        s.failed = s.committed = s.term = 0
        s.attempt += 1
        s.phase = Phase.COLLECTING
        self._set_collect_deadline(s)
        self.emit(e.RoundRetried, study=study, round=s.round, attempt=s.attempt, deadline=s.deadline)

    def _finalise(self, study: int, s: Record, attested: int) -> None:
        s.last_final = s.output
        outcome = {"output": s.output, "merged": s.merged, "attested": attested}
        self.emit(e.RoundFinalised, study=study, round=s.round, term=s.term, **outcome)
        if s.round == s.terms.rounds:
            self._end(s, Status.FINISHED)
            self.emit(e.StudyFinished, study=study, output=s.last_final)
            return
        if s.round != 0:
            self._measure_review(s)
        self._clear_term(s)
        s.failed = 0
        s.committed, s.mix = s.next_committed, s.next_mix
        s.next_committed = s.next_mix = 0
        self._open_round(study, s, s.round + 1)

    def _open_round(self, study: int, s: Record, number: int) -> None:
        s.eligible |= s.join_next
        s.join_next, s.join_after = s.join_after, 0
        s.round = number
        s.attempt = s.term = s.expired = 0
        s.phase = Phase.COLLECTING
        self._set_collect_deadline(s)
        active = self.active(s)
        self.emit(e.RoundOpened, study=study, round=number, attempt=0, eligible=active, deadline=s.deadline)
        self._start_grace(s, active)
        self._seal_if_complete(study, s, active)

    def _set_collect_deadline(self, s: Record) -> None:
        s.deadline = s.sealable_at = self.deadline_in(self._collect_period(s))

    # -- how long a phase may last -----------------------------------------------------------------------------------

    @staticmethod
    def _collect_period(s: Record) -> int:
        pace = s.collect_pace + s.review_pace if s.collect_pace and s.review_pace else 0
        return twin_pace.period(pace, s.expired, s.terms.least_seconds, s.terms.collect_seconds)

    @staticmethod
    def _merge_period(s: Record) -> int:
        return twin_pace.period(s.merge_pace, s.expired, s.terms.least_seconds, s.terms.merge_seconds)

    @staticmethod
    def _review_period(s: Record) -> int:
        return twin_pace.period(s.review_pace, s.expired, s.terms.least_seconds, s.terms.review_seconds)

    def _measure_collection(self, s: Record, complete: bool) -> None:
        period = self._collect_period(s)
        if complete:
            s.collect_pace = twin_pace.learn(s.collect_pace, self._elapsed(s, period), period)
        elif s.sealable_at == s.deadline and period < s.terms.collect_seconds:
            s.collect_pace = twin_pace.lengthen(s.collect_pace, period)

    def _measure_merge(self, s: Record) -> None:
        period = self._merge_period(s)
        s.merge_pace = twin_pace.learn(s.merge_pace, self._elapsed(s, period), period)

    def _measure_review(self, s: Record) -> None:
        period = self._review_period(s)
        s.review_pace = twin_pace.learn(s.review_pace, self._elapsed(s, period), period)

    def _elapsed(self, s: Record, period: int) -> int:
        return self.here.timestamp + period - s.deadline

    @staticmethod
    def _expire(s: Record) -> None:
        s.expired = min(s.expired + 1, 255)

    @staticmethod
    def _clear_term(s: Record) -> None:
        s.output = ZERO_HASH
        s.merged = s.attested = s.rejected = 0

    def _end(self, s: Record, status: Status) -> None:
        s.status = status
        s.phase = Phase.IDLE
        self._clear_term(s)
        s.eligible = s.join_next = s.join_after = 0
        s.committed = s.mix = s.failed = s.next_committed = s.next_mix = 0
