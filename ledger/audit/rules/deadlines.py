"""Whether every deadline is the one that the contract makes: from how long the study's own phases took before.

The same arithmetic as contracts/src/Pace.sol and the functions at the end of contracts/src/StudyRounds.sol.
"""

from dataclasses import dataclass, replace
from typing import Final

from ledger import events as e
from ledger.audit.record import Record, where
from ledger.audit.verdict import Rule, Tally
from ledger.state import StudyState
from ledger.types import Fault, Terms

_LONGEST: Final = 65_535
_FACTOR: Final = 4
_SMOOTHING: Final = 16
_MOST_EXPIRED: Final = 255


@dataclass(frozen=True, slots=True)
class Pace:
    """What phases took so far, in seconds times four; 0 before that was measured. `expired` counts in this round."""

    expired: int = 0
    collect: int = 0
    merge: int = 0
    review: int = 0

    def collect_period(self, terms: Terms) -> int:
        """Seconds that a collection may last."""
        pace = self.collect + self.review if self.collect and self.review else 0
        return _period(pace, self.expired, terms.least_seconds, terms.collect_seconds)

    def merge_period(self, terms: Terms) -> int:
        """Seconds that a merge may last."""
        return _period(self.merge, self.expired, terms.least_seconds, terms.merge_seconds)

    def review_period(self, terms: Terms) -> int:
        """Seconds that a review may last."""
        return _period(self.review, self.expired, terms.least_seconds, terms.review_seconds)

    def with_expiry(self) -> "Pace":
        """The pace after one more deadline has expired in this round."""
        return replace(self, expired=min(self.expired + 1, _MOST_EXPIRED))

    def after_collection(self, study: StudyState, event: e.RoundSealed) -> "Pace":
        """The pace after a collection."""
        period, present = self.collect_period(study.terms), study.round
        if event.committed == study.eligible:
            return replace(self, collect=_learn(self.collect, _elapsed(study, event, period), period))
        if present.sealable_at == present.deadline and period < study.terms.collect_seconds:
            return replace(self, collect=max(self.collect, min(_LONGEST, 2 * period)))
        return self

    def after_merge(self, study: StudyState, event: e.ModelPublished) -> "Pace":
        """The pace after a merge."""
        period = self.merge_period(study.terms)
        return replace(self, merge=_learn(self.merge, _elapsed(study, event, period), period))

    def after_review(self, study: StudyState, event: e.RoundFinalised) -> "Pace":
        """The pace after a review."""
        period = self.review_period(study.terms)
        return replace(self, review=_learn(self.review, _elapsed(study, event, period), period))


def _period(pace: int, expired: int, least: int, most: int) -> int:
    if pace == 0 or pace >= _LONGEST or expired >= 32:
        return most
    return min(max(pace, least) << expired, most)


def _learn(pace: int, elapsed: int, allowed: int) -> int:
    sample = min(_LONGEST, _FACTOR * (min(elapsed, allowed) + 1))
    return sample if sample >= pace else pace - (pace - sample + _SMOOTHING - 1) // _SMOOTHING


def _elapsed(study: StudyState, event: e.RoundEvent, period: int) -> int:
    """Seconds since the present phase began, which has this period."""
    return event.at.timestamp + period - study.round.deadline


def judge(record: Record) -> Tally:
    """Measure every phase again, and hold every deadline against it."""
    tally, pace = Tally(), Pace()
    for step in record.own_steps:
        study, event = record.study_before(step), step.event
        opens = isinstance(event, e.RoundOpened)
        if study is None or not isinstance(event, e.RoundEvent) or not (study.rounds or opens):
            continue
        pace = _next(pace, study, event)
        expected = _allowed(pace, study.terms, event)
        deadline = getattr(event, "deadline", None)
        if expected is not None and deadline is not None:
            given = deadline - event.at.timestamp
            what = f"its deadline is {given} s ahead, and {expected} s follow from the rounds before"
            tally.check(given == expected, f"{type(event).__name__}: {what}", **where(event))
    tally.said = f"{tally.checked} deadlines follow from how long the phases before took"
    return tally


def _next(pace: Pace, study: StudyState, event: e.RoundEvent) -> Pace:
    """Give the pace by which an event's own deadline is made."""
    match event:
        case e.RoundOpened():
            return replace(pace, expired=0)
        case e.RoundExtended():
            return pace.with_expiry()
        case e.LeaderFailed(fault=Fault.MERGE_TIMEOUT | Fault.REVIEW_TIMEOUT):
            return pace.with_expiry()
        case e.RoundSealed() if event.round:
            return pace.after_collection(study, event)
        case e.ModelPublished() if event.round:
            return pace.after_merge(study, event)
        case e.RoundFinalised() if event.round and event.round != study.terms.rounds:
            return pace.after_review(study, event)
        case _:
            return pace


def _allowed(pace: Pace, terms: Terms, event: e.RoundEvent) -> int | None:
    """Seconds that the phase may last which an event begins; None where it begins none."""
    match event:
        case e.RoundOpened() | e.RoundExtended() | e.RoundRetried():
            return pace.collect_period(terms)
        case e.LeaderElected():
            return pace.merge_period(terms)
        case e.ModelPublished():
            return pace.review_period(terms)
        case _:
            return None


DEADLINES = Rule(
    "deadlines",
    "Every deadline is computed again from how long the phases of the study's own rounds took.",
    "Who could choose deadlines could shut slow sites out, or stop the study.",
    judge,
    "no round was opened",
)
