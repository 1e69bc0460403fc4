"""Whether every event could come where it stands: the contracts' rules for phases, deadlines and consequences."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ledger import events as e
from ledger.audit.record import Record, Step, where
from ledger.audit.rules.consequences import CAUSES, Kinds, abort_carries, consequences
from ledger.audit.verdict import Rule, Tally
from ledger.events import Event, StudyEvent
from ledger.state import ConsortiumState, RoundState, StudyState
from ledger.types import ZERO_HASH, AbortReason, Fault, Phase, Status, bitmap_of


def judge(record: Record) -> Tally:
    """Hold every event of the study against the state that it met."""
    tally = Tally()
    due: Kinds = ()
    last: StudyEvent | None = None
    for step in record.steps:
        _in_order(tally, record, step)
        event = step.event
        if not isinstance(event, StudyEvent) or event.study != record.study:
            continue
        kind = type(event)
        if due:
            expected = " or ".join(one.__name__ for one in due)
            tally.check(isinstance(event, due), f"{kind.__name__} where {expected} must follow at once", **where(event))
        if kind in CAUSES:
            caused = isinstance(last, CAUSES[kind])
            tally.check(caused, f"{kind.__name__} without the event that brings it about", **where(event))
        for holds, what in _checks(record, step, last):
            tally.check(holds, f"{kind.__name__}: {what}", **where(event))
        after = record.study_after(step)
        due = consequences(event, after) if after is not None else ()
        last = event
    if due and last is not None:
        expected = " or ".join(one.__name__ for one in due)
        tally.check(
            False, f"the history ends with {type(last).__name__}, and {expected} must follow at once", **where(last)
        )
    tally.said = f"{len(record.own_steps)} events of the study, each where it may stand"
    return tally


def _in_order(tally: Tally, record: Record, step: Step) -> None:
    event = step.event
    if step.problem is not None:
        tally.check(False, f"{type(event).__name__} can't stand there: {step.problem}", **where(event))
    known = record.blocks.get(event.at.block)
    if known is not None:
        same = (known.hash, known.timestamp) == (event.at.block_hash, event.at.timestamp)
        tally.check(
            same, f"{type(event).__name__} is of another block {event.at.block} than the chain's", **where(event)
        )


_Checks = list[tuple[bool, str]]


@dataclass(frozen=True, slots=True)
class _Context:
    """What else a judge may need: the study's event before this one, and the consortium."""

    last: StudyEvent | None
    consortium: ConsortiumState


def _checks(record: Record, step: Step, last: StudyEvent | None) -> _Checks:
    """What must hold of one event, and what is wrong where it doesn't."""
    event, study = step.event, record.study_before(step)
    if isinstance(event, e.StudyProposed):
        return [(study is None, "the study was proposed before")]
    if study is None:
        return [(False, "nobody proposed the study")]
    judge_ = _JUDGES.get(type(event))
    if judge_ is None:
        return []
    if isinstance(event, e.RoundEvent) and not isinstance(event, e.RoundOpened) and not study.rounds:
        return [(False, "no round was opened")]
    return [
        (study.status in _STATUSES.get(type(event), (Status.RUNNING,)), _status(study)),
        *judge_(event, study, _Context(last, step.before.consortium)),
    ]


def _status(study: StudyState) -> str:
    return f"the study is {study.status.name.lower()}"


_STATUSES: Final[dict[type[Event], tuple[Status, ...]]] = {
    e.StudyAccepted: (Status.PROPOSED, Status.RUNNING),
    e.StudyDeclined: (Status.PROPOSED,),
    e.StudyStarted: (Status.PROPOSED,),
    e.StudyAborted: (Status.PROPOSED, Status.RUNNING),
}


def _accepted(event: e.StudyAccepted, study: StudyState, _at: _Context) -> _Checks:
    if study.status is Status.PROPOSED:
        first, late = study.terms.first_round, event.at.timestamp > study.accept_deadline
    else:
        first, late = study.round.number + (2 if study.phase is Phase.REVIEWING else 1), False
    return [
        (event.site not in study.sites, "the site accepted before"),
        (not late, f"the deadline was {study.accept_deadline}"),
        (event.from_round == first, f"it takes part from round {event.from_round}, where {first} is the first it can"),
        (first <= study.terms.rounds, "there is no round left to join"),
    ]


def _declined(event: e.StudyDeclined, study: StudyState, _at: _Context) -> _Checks:
    return [
        (event.site not in study.sites and event.site not in study.declined, "the site answered before"),
        (event.at.timestamp <= study.accept_deadline, f"the deadline was {study.accept_deadline}"),
    ]


def _started(event: e.StudyStarted, study: StudyState, at: _Context) -> _Checks:
    accepted = bitmap_of(*(site.seat for site in study.sites.values())) & study.active
    waiting = at.consortium.members.keys() - study.sites.keys() - study.declined
    return [
        (event.participants == accepted, "the participants aren't the members that accepted"),
        (accepted.bit_count() >= study.terms.min_sites, "fewer sites accepted than a round needs"),
        (event.at.timestamp > study.accept_deadline or not waiting, "members had yet to answer, and had time to"),
    ]


def _opened(event: e.RoundOpened, study: StudyState, _at: _Context) -> _Checks:
    expected = study.rounds[-1].number + 1 if study.rounds else study.terms.first_round
    seats = (site.seat for site in study.sites.values() if not site.withdrawn and site.from_round <= event.round)
    return [
        (event.round == expected, f"round {expected} is next"),
        (not study.rounds or study.rounds[-1].final is not None, "the round before has no final output"),
        (event.attempt == 0, "a round begins with attempt 0"),
        (event.eligible == bitmap_of(*seats) & study.active, "the eligible seats aren't those that take part by then"),
        _in_time(event, study.terms.collect_seconds),
    ]


def _committed(event: e.UpdateCommitted, study: StudyState, at: _Context) -> _Checks:
    present = study.round
    if event.round == present.number:
        return [
            (study.phase is Phase.COLLECTING, "the round was sealed: the commit is too late"),
            (event.attempt == present.attempt, f"attempt {present.attempt} is on"),
            (event.seat not in present.commits, "the site committed before in this attempt"),
            (bool(study.eligible >> event.seat & 1), "the site isn't eligible"),
        ]
    last = at.last
    rides = isinstance(last, e.OutputAttested) and last.site == event.site and last.at.tx == event.at.tx
    return [
        (event.round == present.number + 1 <= study.terms.rounds, f"round {present.number} is on"),
        (study.phase is Phase.REVIEWING, "nothing is under review that the next round could start from"),
        (rides, "a commit for the next round comes with its site's attestation"),
        (event.attempt == 0, "a round begins with attempt 0"),
        (event.seat not in study.upcoming, "the site committed for the next round before"),
    ]


def _extended(event: e.RoundExtended, study: StudyState, _at: _Context) -> _Checks:
    enough = (study.round.committed & study.eligible).bit_count() >= study.terms.min_sites
    return [
        *_in_phase(event, study, Phase.COLLECTING),
        (event.attempt == study.round.attempt, f"attempt {study.round.attempt} is on"),
        (event.at.timestamp >= study.round.deadline, f"the deadline is {study.round.deadline}"),
        (not enough, "enough sites had committed"),
        (event.committed == study.round.committed, "the commits on record are others"),
        _in_time(event, study.terms.collect_seconds),
    ]


def _sealed(event: e.RoundSealed, study: StudyState, _at: _Context) -> _Checks:
    committed = study.round.committed & study.eligible
    complete = not study.eligible & ~study.round.committed
    return [
        *_in_phase(event, study, Phase.COLLECTING),
        (event.attempt == study.round.attempt, f"attempt {study.round.attempt} is on"),
        (event.committed == committed, "the sealed seats aren't those that committed and are still eligible"),
        (committed.bit_count() >= study.terms.min_sites, "fewer sites committed than a round needs"),
        (
            complete or event.at.timestamp >= study.round.sealable_at,
            f"it may be sealed from {study.round.sealable_at} on",
        ),
    ]


def _elected(event: e.LeaderElected, study: StudyState, at: _Context) -> _Checks:
    terms = [term for term in study.round.terms if term.attempt == study.round.attempt]
    expected = 0 if isinstance(at.last, e.RoundSealed) or not terms else terms[-1].number + 1
    return [
        *_in_round(event, study),
        (event.term == expected, f"term {expected} is next"),
        _in_time(event, study.terms.merge_seconds),
    ]


def _published(event: e.ModelPublished, study: StudyState, _at: _Context) -> _Checks:
    present = study.round
    left_out = (present.committed & ~event.merged).bit_count()
    return [
        *_in_term(event, study, Phase.MERGING),
        (event.leader == present.leader, f"{present.leader} leads"),
        (present.term is not None and bool(study.eligible >> present.term.seat & 1), "the leader takes part no more"),
        (event.output != ZERO_HASH, "the output is no hash"),
        (not event.merged & ~present.committed, "seats were merged that didn't commit"),
        (event.merged.bit_count() >= study.terms.min_sites, "fewer inputs were merged than a round needs"),
        (len(event.reasons) == left_out, f"{left_out} inputs were left out, with {len(event.reasons)} reasons"),
        _in_time(event, study.terms.review_seconds),
    ]


def _voted(event: e.OutputAttested | e.OutputRejected, study: StudyState, _at: _Context) -> _Checks:
    return _in_term(event, study, Phase.REVIEWING)


def _failed(event: e.LeaderFailed, study: StudyState, _at: _Context) -> _Checks:
    term, late = study.round.term, event.at.timestamp > study.round.deadline
    if term is None:
        return [(False, "nobody leads")]
    there = bool(study.eligible >> term.seat & 1)
    voters = study.voters
    lost = (voters & ~bitmap_of(*term.rejected)).bit_count() < study.quorum
    reasons = {
        Fault.MERGE_TIMEOUT: (
            study.phase is Phase.MERGING and late and there,
            f"the merge has time until {study.round.deadline}",
        ),
        Fault.REVIEW_TIMEOUT: (
            study.phase is Phase.REVIEWING and late and there,
            f"the review has time until {study.round.deadline}",
        ),
        Fault.REJECTED: (study.phase is Phase.REVIEWING and bool(voters) and lost, "no quorum was out of reach"),
        Fault.NOT_MEMBER: (not there, "the leader still takes part"),
    }
    return [
        *_in_round(event, study),
        ((event.term, event.leader) == (term.number, term.leader), f"{term.leader} leads term {term.number}"),
        (term.fault is None, "the term had failed before"),
        reasons[event.fault],
    ]


def _voided(event: e.CommitsVoided, study: StudyState, _at: _Context) -> _Checks:
    return [
        (event.round == study.round.number + 1, "only commits for the next round can be voided"),
        (event.voided == bitmap_of(*study.upcoming), "the voided commits aren't those that were made"),
    ]


def _retried(event: e.RoundRetried, study: StudyState, _at: _Context) -> _Checks:
    return [
        *_in_round(event, study),
        (event.attempt == study.round.attempt + 1, f"attempt {study.round.attempt + 1} is next"),
        (study.candidates == 0, "there are sites left that could lead"),
        _in_time(event, study.terms.collect_seconds),
    ]


def _finalised(event: e.RoundFinalised, study: StudyState, _at: _Context) -> _Checks:
    return _in_term(event, study, Phase.REVIEWING)


def _finished(event: e.StudyFinished, study: StudyState, _at: _Context) -> _Checks:
    final = study.rounds[-1].final if study.rounds else None
    return [
        (final is not None and study.rounds[-1].number == study.terms.rounds, "its last round is not final"),
        (final is not None and event.output == final.output, "its output isn't the last round's"),
    ]


def _aborted(event: e.StudyAborted, study: StudyState, _at: _Context) -> _Checks:
    if event.reason is AbortReason.VOTED:
        return [(study.status is Status.RUNNING, _status(study)), (abort_carries(study), "no quorum voted to abort")]
    accepted = bitmap_of(*(site.seat for site in study.sites.values())) & study.active
    return [
        (study.status is Status.PROPOSED, _status(study)),
        (event.at.timestamp > study.accept_deadline, f"members may answer until {study.accept_deadline}"),
        (accepted.bit_count() < study.terms.min_sites, "enough sites accepted"),
    ]


def _departed(event: e.SiteWithdrew | e.AbortVoted, study: StudyState, _at: _Context) -> _Checks:
    site = study.sites.get(event.site)
    return [(site is not None and not site.withdrawn, "the site takes no part")]


def _in_time(event: Any, most: int) -> tuple[bool, str]:
    """A deadline is ahead, by no more than the study's constant; how much less, the contract alone measures."""
    given = event.deadline - event.at.timestamp
    return 0 < given <= most, f"its deadline is {given} s ahead, where the study allows 1 to {most}"


def _in_round(event: e.RoundEvent, study: StudyState) -> _Checks:
    present: RoundState = study.round
    return [
        (event.round == present.number, f"round {present.number} is on"),
        (present.final is None, "the round is final"),
    ]


def _in_phase(event: e.RoundEvent, study: StudyState, phase: Phase) -> _Checks:
    return [*_in_round(event, study), (study.phase is phase, f"the round is {study.phase.name.lower()}")]


def _in_term(event: Any, study: StudyState, phase: Phase) -> _Checks:
    term = study.round.term
    return [
        *_in_phase(event, study, phase),
        (term is not None and event.term == term.number, f"term {term.number if term else 'none'} is on"),
    ]


_JUDGES: Final[dict[type[Event], Callable[..., _Checks]]] = {
    e.StudyAccepted: _accepted,
    e.StudyDeclined: _declined,
    e.StudyStarted: _started,
    e.RoundOpened: _opened,
    e.UpdateCommitted: _committed,
    e.RoundExtended: _extended,
    e.RoundSealed: _sealed,
    e.LeaderElected: _elected,
    e.ModelPublished: _published,
    e.OutputAttested: _voted,
    e.OutputRejected: _voted,
    e.LeaderFailed: _failed,
    e.CommitsVoided: _voided,
    e.RoundRetried: _retried,
    e.RoundFinalised: _finalised,
    e.StudyFinished: _finished,
    e.StudyAborted: _aborted,
    e.SiteWithdrew: _departed,
    e.AbortVoted: _departed,
}

TRANSITIONS = Rule(
    "transitions",
    "Every event of the study stands where the contract could write it: phase, term, attempt, deadline, and what "
    "follows on what.",
    "A step that the contract does not allow was not taken by the contract: the history is not the ledger's.",
    judge,
    "the study has no events",
)
