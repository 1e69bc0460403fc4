"""From a folded study to answers: rounds, terms, commits, faults, privacy, and the family of its models."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from ledger.api import schemas as s
from ledger.api.telling import MICRO, Teller, spec_of
from ledger.api.wording import FAULTS, WAITS, exclusion, objection
from ledger.rpc import data
from ledger.state import Commit, RoundState, StudyState, Term
from ledger.types import Address, Phase, Status, bitmap_of, seats_of
from swarm.spec import StudySpec


@dataclass(frozen=True)
class StudyTeller:
    """Tells of one study."""

    teller: Teller
    study: StudyState

    @cached_property
    def spec(self) -> StudySpec | None:
        """The specification; None where this version can't read it."""
        return spec_of(self.study)

    @property
    def name(self) -> str:
        """The study's name."""
        return self.spec.study.name if self.spec is not None else ""

    @cached_property
    def _holders(self) -> dict[int, s.Site]:
        return {one.seat: self.teller.site(account) for account, one in self.study.sites.items()}

    def seated(self, seats: int) -> list[s.Site]:
        """Name the participants on some seats."""
        return [self._holders[seat] for seat in seats_of(seats) if seat in self._holders]

    # -- the study -----------------------------------------------------------------------------------------------

    def summary(self) -> s.Study:
        """Tell of the study at a glance."""
        return s.Study(**self._glance())

    def detail(self) -> s.StudyDetail:
        """Tell of the study with its terms, sites and specification."""
        study, spec = self.study, self.spec
        return s.StudyDetail(
            **self._glance(),
            accept_deadline=study.accept_deadline,
            terms=asdict(study.terms),
            participants=list(self.participants()),
            declined=self.teller.sites(sorted(study.declined)),
            spec=spec.model_dump(mode="json") if spec is not None else None,
            head=self.teller.head(),
        )

    def _glance(self) -> dict[str, Any]:
        study = self.study
        started = study.rounds[0].opened if study.rounds else None
        return {
            "number": study.number,
            "name": self.name,
            "description": self.spec.study.description if self.spec is not None else "",
            "status": Status(study.status).name.lower(),
            "waits_for": WAITS[study.phase],
            "proposer": self.teller.site(study.proposer),
            "specification": data(study.spec_hash),
            "proposed": self.teller.place(study.proposed),
            "started": self.teller.maybe(started),
            "ended": self.teller.maybe(study.ended),
            "sites": sum(not one.withdrawn for one in study.sites.values()),
            "rounds": sum(one.final is not None for one in study.rounds),
            "rounds_planned": study.terms.rounds + (1 - study.terms.first_round),
            "faults": sum(term.fault is not None for one in study.rounds for term in one.terms),
            "final_model": data(study.final_output) if study.final_output is not None else None,
            "abort_reason": study.abort_reason.name.lower() if study.abort_reason is not None else "",
        }

    def participants(self) -> Iterator[s.SiteInStudy]:
        """Tell what each site did."""
        finals = [one for one in self.study.rounds if one.final is not None]
        for account in self.study.sites:
            yield self._part(account, finals)

    def _part(self, account: Address, finals: list[RoundState]) -> s.SiteInStudy:
        site = self.study.sites[account]
        bit = 1 << site.seat
        own = [one for one in finals if one.number >= site.from_round]
        merged = [one for one in own if one.final is not None and one.final.merged & bit]
        terms = [term for one in self.study.rounds for term in one.terms if term.leader == account]
        return s.SiteInStudy(
            study=self.study.number,
            name=self.name,
            site=self.teller.site(account),
            accepted=self.teller.place(site.accepted),
            withdrawn=site.withdrawn,
            rounds=len(own),
            merged=len(merged),
            led=sum(one.terms[-1].leader == account for one in finals),
            left_out=sum(one.committed >> site.seat & 1 for one in own) - len(merged),
            faults=sum(term.fault is not None for term in terms),
            epsilon_spent=site.epsilon_spent / MICRO,
        )

    # -- rounds --------------------------------------------------------------------------------------------------

    def round(self, one: RoundState) -> s.Round:
        """Tell of a round at a glance."""
        return s.Round(**self._round(one))

    def round_detail(self, one: RoundState) -> s.RoundDetail:
        """Tell of a round with its commits and terms."""
        return s.RoundDetail(
            **self._round(one),
            deadline=one.deadline,
            terms=[self.term(one, term) for term in one.terms],
            commits=[self.commit(one.number, commit) for commit in one.all_commits()],
            parent=self._parent(one.number),
            head=self.teller.head(),
        )

    def _round(self, one: RoundState) -> dict[str, Any]:
        final = one.final
        merged = final.merged if final is not None else 0
        last = one.terms[-1] if one.terms else None
        return {
            "study": self.study.number,
            "number": one.number,
            "statistics": one.number == 0,
            "state": self.state_of(one),
            "opened": self.teller.place(one.opened),
            "finalised": self.teller.maybe(final.at if final is not None else None),
            "seconds": final.at.timestamp - one.opened.timestamp if final is not None else None,
            "attempts": one.attempt + 1,
            "extensions": one.extensions,
            "leader": self.teller.site(last.leader) if last is not None and last.fault is None else None,
            "eligible": self.seated(one.eligible),
            "committed": self.seated(one.committed),
            "merged": self.seated(merged),
            "absent": self.seated(one.eligible & ~one.committed) if one.sealed else [],
            "left_out": self.left_out(one),
            "faults": [self.fault(one, term) for term in one.terms if term.fault is not None],
            "attested": final.attested.bit_count() if final is not None else 0,
            "weight": sum(one.commits[seat].commitment.weight for seat in seats_of(merged) if seat in one.commits),
            "output": data(final.output) if final is not None else None,
        }

    def state_of(self, one: RoundState) -> str:
        """Say how a round stands: final, or what it does, or that the study ended before."""
        if one.final is not None:
            return "final"
        return Phase(one.phase).name.lower() if self.study.status is Status.RUNNING else "unfinished"

    def left_out(self, one: RoundState) -> list[s.LeftOut]:
        """Tell which updates are in a round's commits and not in its output, and why."""
        found = one.left_out if one.terms and one.terms[-1].fault is None else {}
        return self._left_out(found)

    def _left_out(self, reasons: dict[int, int]) -> list[s.LeftOut]:
        return [
            s.LeftOut(site=self._holders[seat], reason=reason, said=exclusion(reason))
            for seat, reason in reasons.items()
            if seat in self._holders
        ]

    def term(self, one: RoundState, term: Term) -> s.Term:
        """Tell of a term."""
        seal = next((seal for seal in one.seals if seal.attempt == term.attempt), None)
        committed = seal.committed if seal is not None else 0
        given = term.publication
        reasons = dict(zip(seats_of(committed & ~given.merged), given.reasons, strict=False)) if given else {}
        return s.Term(
            study=self.study.number,
            round=one.number,
            attempt=term.attempt,
            number=term.number,
            leader=self.teller.site(term.leader),
            seed=data(seal.seed) if seal is not None else None,
            candidates=self.seated(committed),
            began=self.teller.place(term.at),
            ended=self.teller.maybe(term.ended),
            published=self.teller.maybe(given.at if given is not None else None),
            output=data(given.output) if given is not None else None,
            merged=self.seated(given.merged) if given is not None else [],
            left_out=self._left_out(reasons),
            reviews=list(self._reviews(term)),
            fault=self.fault(one, term) if term.fault is not None else None,
        )

    def _reviews(self, term: Term) -> Iterator[s.Review]:
        for site in self.seated(bitmap_of(*term.attested)):
            yield s.Review(site=site, verdict="published" if site.account == term.leader else "attested")
        for seat, reason in term.rejected.items():
            if seat in self._holders:
                yield s.Review(site=self._holders[seat], verdict="rejected", said=objection(reason))

    def fault(self, one: RoundState, term: Term) -> s.Fault:
        """Tell why a term came to nothing; raises ValueError where it didn't."""
        if term.fault is None:
            raise ValueError("a term without a fault")
        return s.Fault(
            study=self.study.number,
            round=one.number,
            attempt=term.attempt,
            term=term.number,
            leader=self.teller.site(term.leader),
            kind=term.fault.name.lower(),
            said=FAULTS[term.fault],
            at=self.teller.maybe(term.ended),
        )

    def faults(self) -> list[s.Fault]:
        """Tell of every fault, in order."""
        return [self.fault(one, term) for one in self.study.rounds for term in one.terms if term.fault is not None]

    # -- commits -------------------------------------------------------------------------------------------------

    def commits(self) -> Iterator[tuple[int, Commit]]:
        """Give every commit with its round, in the order of the chain within a round."""
        for one in self.study.rounds:
            yield from ((one.number, commit) for commit in sorted(one.all_commits(), key=lambda commit: commit.at))
        following = self.study.rounds[-1].number + 1 if self.study.rounds else 0
        yield from ((following, commit) for commit in self.study.upcoming.values())

    def commit(self, number: int, commit: Commit) -> s.Commit:
        """Tell of a commit, and what became of it."""
        given = commit.commitment
        fate, reason = self._fate(number, commit)
        return s.Commit(
            study=self.study.number,
            round=number,
            attempt=commit.attempt,
            site=self.teller.site(commit.site),
            seat=commit.seat,
            update=data(given.blob),
            weight=given.weight,
            epsilon_spent=given.epsilon_spent / MICRO,
            reveal=data(given.reveal),
            seen_block=given.seen_block,
            seen_hash=data(given.seen_hash),
            at=self.teller.place(commit.at),
            fate=fate,
            reason=reason,
        )

    def _fate(self, number: int, commit: Commit) -> tuple[str, str]:
        index = number - self.study.terms.first_round
        one = self.study.rounds[index] if 0 <= index < len(self.study.rounds) else None
        if one is None or (one.final is None and commit.seat in one.commits):
            return "pending", ""
        if commit in one.superseded:
            return "superseded", "every leader of that attempt failed, and the round collected anew"
        if one.final is not None and one.final.merged >> commit.seat & 1:
            return "merged", ""
        return "left out", exclusion(one.left_out[commit.seat]) if commit.seat in one.left_out else "it came too late"

    # -- privacy, and the models' family -------------------------------------------------------------------------

    def privacy(self) -> s.Privacy:
        """Tell what each site has spent of the study's budget."""
        points: dict[Address, list[tuple[int, float]]] = {account: [] for account in self.study.sites}
        for number, commit in self.commits():
            points[commit.site].append((number, commit.commitment.epsilon_spent / MICRO))
        spent = [
            s.Spent(
                site=self.teller.site(account),
                epsilon_spent=one.epsilon_spent / MICRO,
                points=points[account],
            )
            for account, one in self.study.sites.items()
        ]
        return s.Privacy(
            study=self.study.number,
            mode=self.spec.privacy.mode if self.spec is not None else "",
            epsilon_budget=self.study.terms.epsilon_budget / MICRO,
            sites=spent,
            head=self.teller.head(),
        )

    def models(self) -> list[RoundState | None]:
        """Give what each model came of, the initial one (None) first; the statistics of round 0 are no model."""
        initial = [None] if self.spec is not None and self.spec.model.initial else []
        return [*initial, *(one for one in self.study.rounds if one.final is not None and one.number > 0)]

    def model(self, one: RoundState | None) -> s.Step:
        """Tell of one of the models, and whose updates are in it."""
        if one is None or one.final is None:
            return self._step(None, "initial", bytes.fromhex(self.spec.model.initial if self.spec else ""), None)
        is_last = self.study.final_output == one.final.output and one is self.study.rounds[-1]
        return self._step(one.number, "final" if is_last else "round", one.final.output, one)

    def _step(self, number: int | None, kind: str, model: bytes, one: RoundState | None) -> s.Step:
        return s.Step(
            study=self.study.number,
            round=number,
            kind=kind,
            model=data(model),
            parent=self._parent(number) if number is not None else None,
            leader=self.teller.site(one.terms[-1].leader) if one is not None else None,
            contributors=self.contributors(one) if one is not None else [],
            at=self.teller.maybe(one.final.at if one is not None and one.final is not None else None),
        )

    def contributors(self, one: RoundState) -> list[s.Contribution]:
        """Tell whose updates a round's output was made of."""
        seats = seats_of(one.final.merged) if one.final is not None else ()
        commits = [one.commits[seat] for seat in seats if seat in one.commits]
        return [
            s.Contribution(
                site=self.teller.site(commit.site),
                update=data(commit.commitment.blob),
                weight=commit.commitment.weight,
            )
            for commit in commits
        ]

    def _parent(self, number: int) -> str | None:
        if number == 0:
            return None
        if number == 1:
            return "0x" + self.spec.model.initial if self.spec is not None and self.spec.model.initial else None
        before = self.study.output_of(number - 1)
        return data(before) if before is not None else None
