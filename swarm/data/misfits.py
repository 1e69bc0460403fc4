"""What doesn't fit a study's schema, and who is told.

Readers hold each value against the schema once and tell a `Report` what doesn't fit. Loading for training reports to
`Refusal`, which raises at the first misfit; a check reports to a `Tally`, which goes on and counts all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

from numpy.typing import NDArray

from swarm.errors import DataError

SHOWN = 5
SHOWN_CHARACTERS = 64

Place = int | str
"""A row's number, or a file's name."""


class Kind(StrEnum):
    """In which way something doesn't fit."""

    UNREADABLE = "unreadable"
    MISSING_COLUMN = "missing_column"
    DOUBLED_COLUMN = "doubled_column"
    COLUMN_TYPE = "column_type"
    ROW_LENGTH = "row_length"
    MISSING = "missing"
    NOT_A_NUMBER = "not_a_number"
    OUT_OF_RANGE = "out_of_range"
    UNKNOWN_CATEGORY = "unknown_category"
    UNKNOWN_CLASS = "unknown_class"
    BAD_FILE = "bad_file"
    TOO_FEW_RECORDS = "too_few_records"
    ONE_CLASS = "one_class"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one value: a sentence, the value shortened, and what the study expects in its place."""

    kind: Kind
    text: str
    value: str = ""
    expected: str = ""


@dataclass(frozen=True, slots=True)
class Misfit:
    """Something that doesn't fit, at one place or at `count` places of one column.

    `fault` is that of the first place; `places` and `values` are those of the first few. A misfit without places
    is about a whole file or column.
    """

    origin: str
    fault: Fault
    column: str = ""
    places: tuple[Place, ...] = ()
    values: tuple[str, ...] = ()
    count: int = 1

    @classmethod
    def at(cls, origin: str, place: Place, column: str, fault: Fault) -> "Misfit":
        """Make the misfit of one value."""
        return cls(origin, fault, column, (place,), (fault.value,))

    @classmethod
    def among(cls, origin: str, column: str, places: NDArray[Any], describe: Callable[[int], Fault]) -> "Misfit":
        """Make the misfit of the rows at these places, at least one; `describe` gives the fault of the n-th one."""
        faults = [describe(index) for index in range(min(SHOWN, len(places)))]
        first = tuple(places[:SHOWN].tolist())
        return cls(origin, faults[0], column, first, tuple(fault.value for fault in faults), len(places))

    def __str__(self) -> str:
        parts = [self.origin] if self.origin else []
        if self.places:
            place = self.places[0]
            parts.append(f"row {place}" if isinstance(place, int) else f"file {place!r}")
            parts += [f"column {self.column!r}"] if self.column else []
        return ": ".join(part for part in (", ".join(parts), self.fault.text) if part)

    def joined(self, later: "Misfit") -> "Misfit":
        """Count another misfit of the same file, column and kind with this one."""
        return replace(
            self,
            places=(self.places + later.places)[:SHOWN],
            values=(self.values + later.values)[:SHOWN],
            count=self.count + later.count,
        )


class Report(Protocol):
    """Who is told what doesn't fit."""

    def add(self, misfit: Misfit) -> None:
        """Take a misfit; whoever goes on after it has put NaN, or no known class, in the value's place."""

    def remark(self, text: str) -> None:
        """Take something that an operator may want to know, and that is no misfit."""


class Refusal:
    """Refuses data at its first misfit, as training must."""

    def add(self, misfit: Misfit) -> None:
        """Raise DataError naming file, row and column."""
        raise DataError(str(misfit))

    def remark(self, text: str) -> None:
        """Ignore it: what is no misfit is in nobody's way."""


class Tally:
    """Counts every misfit, by file, column and kind; its memory doesn't grow with the number of rows."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str, Kind, bool], Misfit] = {}
        self._remarks: list[str] = []

    def add(self, misfit: Misfit) -> None:
        """Count it."""
        key = (misfit.origin, misfit.column, misfit.fault.kind, bool(misfit.places))
        earlier = self._groups.get(key)
        self._groups[key] = misfit if earlier is None else earlier.joined(misfit)

    def remark(self, text: str) -> None:
        """Keep it."""
        self._remarks.append(text)

    @property
    def misfits(self) -> tuple[Misfit, ...]:
        """One for each file, column and kind, in the order in which they were met."""
        return tuple(self._groups.values())

    @property
    def remarks(self) -> tuple[str, ...]:
        """All remarks, in order."""
        return tuple(self._remarks)


def shown(value: str) -> str:
    """Show a value that came from a file: shortened, quoted, and without characters that a terminal acts on."""
    return repr(value[:SHOWN_CHARACTERS])


def listing(names: list[str]) -> str:
    """Show the first few of many names."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(shown, names[:SHOWN])) + more
