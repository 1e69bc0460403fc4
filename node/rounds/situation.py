"""From the ledger's record and this site's disk to the situation that decides what it does next."""

from dataclasses import dataclass, field

from ledger.state import RoundState, StudyState
from ledger.types import Address, Phase
from node.rounds.decide import Basis, Situation
from node.rounds.review import Entry
from node.study_folder import StudyFolder
from swarm.merge import Objection
from swarm.spec import StudySpec

Published = tuple[int, int, int, bytes]


@dataclass(slots=True)
class Findings:
    """What this site found on the outputs that were published: by round, attempt, term and output."""

    _verdicts: dict[Published, bool | Objection] = field(default_factory=dict)

    def note(self, number: int, attempt: int, term: int, output: bytes, verdict: bool | Objection) -> None:
        """Keep a verdict: True where the output holds. Those of rounds before are needed no more."""
        self._verdicts = {known: found for known, found in self._verdicts.items() if known[0] >= number}
        self._verdicts[number, attempt, term, output] = verdict

    def verdict(self, number: int, attempt: int, term: int, output: bytes) -> bool | Objection | None:
        """The verdict, None where the output was not verified."""
        return self._verdicts.get((number, attempt, term, output))


def entries(study: StudyState) -> tuple[Entry, ...]:
    """The inputs of the present round: all that are committed while it collects, those that count once it is sealed."""
    present = study.round
    return tuple(
        Entry(present.number, commit.site, seat, commit.commitment)
        for seat, commit in sorted(present.commits.items())
        if present.committed >> seat & 1
    )


def upcoming(study: StudyState) -> tuple[Entry, ...]:
    """The inputs of the next round that came together with attestations."""
    number = study.round.number + 1
    return tuple(Entry(number, commit.site, seat, commit.commitment) for seat, commit in sorted(study.upcoming.items()))


def base_of(study: StudyState, spec: StudySpec, number: int) -> bytes | None:
    """The model that a round's updates start from: the last round's output, the initial model in round 1."""
    if number <= 1:
        return spec.initial if number == 1 else None
    return study.output_of(number - 1)


def moments_of(study: StudyState, spec: StudySpec) -> bytes | None:
    """The agreed moments, where the study standardises and round 0 is final."""
    return study.output_of(0) if spec.data.standardise else None


def situation(
    study: StudyState,
    me: Address,
    active_seats: int,
    spec: StudySpec,
    folder: StudyFolder,
    findings: Findings,
    now: float,
    attests_with_commit: bool,
    paused: bool = False,
) -> Situation:
    """Say where this site stands in a running study; `me` has accepted it."""
    present = study.round
    seat = study.sites[me].seat
    mine = 1 << seat
    term = present.term
    output = present.publication.output if present.publication is not None else b""
    basis = Basis(present.number, base_of(study, spec, present.number), moments_of(study, spec))
    following = _following(study, spec, output)
    return Situation(
        phase=study.phase,
        round=present.number,
        attempt=present.attempt,
        term=term.number if term is not None else 0,
        last_round=study.terms.rounds,
        now=now,
        deadline=present.deadline,
        sealable_at=_sealable_at(present, active_seats),
        rank=_rank(present.eligible & active_seats, seat),
        leads=term is not None and term.leader == me,
        eligible=bool(present.eligible & active_seats & mine),
        committed=bool(present.committed & mine),
        voted=term is not None and (seat in term.attested or seat in term.rejected),
        committed_next=seat in study.upcoming,
        output=output,
        verdict=findings.verdict(present.number, present.attempt, term.number, output) if term is not None else None,
        basis=basis,
        has_update=folder.update(basis) is not None,
        next_basis=following,
        has_next_update=folder.update(following) is not None,
        attests_with_commit=attests_with_commit,
        paused=paused,
    )


def _following(study: StudyState, spec: StudySpec, output: bytes) -> Basis:
    """What the next round's update starts from, where the output under review becomes final."""
    number = study.round.number + 1
    if number == 1:
        return Basis(1, spec.initial, output if spec.data.standardise else None)
    return Basis(number, output, moments_of(study, spec))


def _sealable_at(present: RoundState, active_seats: int) -> float:
    """When `seal` has an effect: at once where a site that was waited for is no longer a member."""
    complete = not present.eligible & active_seats & ~present.committed
    return 0.0 if complete and present.phase is Phase.COLLECTING else float(present.sealable_at)


def _rank(active: int, seat: int) -> int:
    """This site's place in the queue of those who push a stalled round on."""
    return (active & ((1 << seat) - 1)).bit_count()
