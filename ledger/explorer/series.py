"""A study's rounds as numbers to draw: one point a round, or one for several where there are too many."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final

from ledger.api.wording import FAULTS
from ledger.state import RoundState, StudyState
from ledger.types import seats_of

MOST_POINTS: Final = 120


@dataclass(frozen=True, slots=True)
class Point:
    """One or several rounds next to each other: sites in the mean, seconds as the median, faults as the sum."""

    first: int
    last: int
    merged: float
    left_out: float
    absent: float
    seconds: float | None
    longest: int | None
    weight: float
    faults: int
    said: str

    @property
    def rounds(self) -> str:
        """Name the rounds."""
        return f"round {self.first}" if self.first == self.last else f"rounds {self.first} to {self.last}"


@dataclass(frozen=True, slots=True)
class _Round:
    number: int
    merged: int
    left_out: int
    absent: int
    seconds: int | None
    weight: int
    faults: tuple[str, ...]


def points_of(study: StudyState) -> list[Point]:
    """Give at most 120 points for a study's rounds that were settled."""
    rounds = [_read(one) for one in study.rounds if one.sealed]
    size = -(-len(rounds) // MOST_POINTS) or 1
    return [_joined(rounds[start : start + size]) for start in range(0, len(rounds), size)]


def _read(one: RoundState) -> _Round:
    final = one.final
    merged = final.merged if final is not None else 0
    left_out = one.committed & ~merged if final is not None else 0
    return _Round(
        number=one.number,
        merged=merged.bit_count(),
        left_out=left_out.bit_count(),
        absent=(one.eligible & ~one.committed).bit_count(),
        seconds=final.at.timestamp - one.opened.timestamp if final is not None else None,
        weight=sum(one.commits[seat].commitment.weight for seat in seats_of(merged) if seat in one.commits),
        faults=tuple(FAULTS[term.fault] for term in one.terms if term.fault is not None),
    )


def _joined(rounds: Sequence[_Round]) -> Point:
    def mean(of: Callable[[_Round], float]) -> float:
        return fmean(map(of, rounds))

    seconds = [one.seconds for one in rounds if one.seconds is not None]
    faults = [fault for one in rounds for fault in one.faults]
    return Point(
        first=rounds[0].number,
        last=rounds[-1].number,
        merged=mean(lambda one: one.merged),
        left_out=mean(lambda one: one.left_out),
        absent=mean(lambda one: one.absent),
        seconds=median(seconds) if seconds else None,
        longest=max(seconds, default=None),
        weight=mean(lambda one: one.weight),
        faults=len(faults),
        said="; ".join(dict.fromkeys(faults)),
    )
