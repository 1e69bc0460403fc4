"""Records as a source gives them, and the check of each value against the study's schema."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm.data import rules
from swarm.data.dataset import Dataset, Part, Rows
from swarm.data.misfits import Fault, Kind, Misfit, Report, listing, shown
from swarm.errors import DataError
from swarm.spec import DataSection, Feature

WHOLE_ROW = "the array"
"""Stands for a column's name where records are arrays."""

Places = Sequence[int | None]


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """Rows [n, d] and labels [n] in the study's order; `origin` and `places` say in errors where a row comes from.

    `places` are line numbers, row numbers from 1, or names of files. NaN stands for a value, and `rules.UNKNOWN` for a
    class, that the reader has reported already.
    """

    features: NDArray[np.floating]
    labels: NDArray[Any]
    origin: str
    places: NDArray[Any]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Rows) -> "Records":
        """Give the rows of these indices, in this order."""
        return Records(self.features[rows], self.labels[rows], self.origin, self.places[rows])

    def labelled(self, schema: DataSection) -> "Records":
        """Give the rows whose label is one of the study's, or a number in a regression."""
        known = self._known(schema)
        return self if known.all() else self.take(np.flatnonzero(known))

    def check(self, schema: DataSection, report: Report) -> None:
        """Hold every value against the schema; the reader has done so for what is missing or no number."""
        if schema.features:
            for index, feature in enumerate(schema.features):
                self._check_column(self.features[:, index], feature, report)
        else:
            worst = np.maximum(self.features.max(axis=1), -self.features.min(axis=1))
            self._tell(report, rules.too_large(worst), WHOLE_ROW, lambda row: rules.too_large_fault(worst[row]))
        if not schema.classes:
            bad = rules.too_large(self.labels)
            self._tell(report, bad, schema.label, lambda row: rules.too_large_fault(self.labels[row]))

    def check_present(self, schema: DataSection, report: Report) -> None:
        """Report numbers that are missing or not finite, for a reader that hasn't; NaN takes their place."""
        for index, name in enumerate([feature.name for feature in schema.features]):
            bad = ~np.isfinite(self.features[:, index])
            self._tell(report, bad, name, lambda _: rules.NO_VALUE)
        if not schema.features:
            self._tell(report, ~np.isfinite(self.features).all(axis=1), WHOLE_ROW, lambda _: rules.NO_VALUE)
        self.features[~np.isfinite(self.features)] = np.nan
        if not schema.classes:
            self._tell(report, ~np.isfinite(self.labels), schema.label, lambda _: rules.NO_VALUE)
            self.labels[~np.isfinite(self.labels)] = np.nan

    def check_indices(self, schema: DataSection, report: Report) -> None:
        """Report class indices that no class has, for a reader that got indices; `rules.UNKNOWN` takes their place."""
        bad = ~self._known(schema)
        self._tell(report, bad, schema.label, lambda row: rules.index_fault(self.labels[row], schema.classes))
        self.labels[bad] = rules.UNKNOWN

    def dataset(self, schema: DataSection, part: Part) -> Dataset:
        """Give checked records for training; raises DataError where a misfit is left."""
        if not self._known(schema).all():
            raise DataError(f"{self.origin}: a label is missing or unknown")
        with np.errstate(over="ignore"):
            features = self.features.astype(np.float32, copy=False)
            labels = self.labels.astype(np.int64 if schema.classes else np.float32)
        return Dataset(features, labels, tuple(feature.name for feature in schema.features), part)

    def _check_column(self, values: NDArray[np.floating], feature: Feature, report: Report) -> None:
        def tell(bad: rules.Bad, describe: Callable[[float, Feature], Fault]) -> None:
            self._tell(report, bad, feature.name, lambda row: describe(values[row], feature))

        outside = rules.outside(values, feature)
        tell(outside, rules.outside_fault)
        tell(rules.uncategorised(values, feature), rules.uncategorised_fault)
        tell(rules.too_large(values) & ~outside, lambda value, _: rules.too_large_fault(value))

    def _known(self, schema: DataSection) -> rules.Bad:
        known: rules.Bad = (self.labels >= 0) & (self.labels < len(schema.classes))
        return known if schema.classes else np.isfinite(self.labels)

    def _tell(self, report: Report, bad: rules.Bad, column: str, describe: Callable[[int], Fault]) -> None:
        rows = np.flatnonzero(bad)
        if len(rows):
            report.add(Misfit.among(self.origin, column, self.places[rows], lambda index: describe(rows[index])))


def arrange(given: Sequence[str], wanted: Sequence[str], origin: str, report: Report) -> Places:
    """Give the position of each wanted column among the given ones: None for one that is missing, and reported.

    Columns that the study doesn't want are remarked on, and never read.
    """
    counts = Counter(given)
    doubled = sorted(name for name, count in counts.items() if count > 1)
    missing = [name for name in wanted if name not in counts]
    for names, kind, fault in (
        (doubled, Kind.DOUBLED_COLUMN, "appear twice"),
        (missing, Kind.MISSING_COLUMN, "are missing"),
    ):
        for name in names:
            sentence = f"these columns {fault}: {listing(names)}"
            report.add(Misfit(origin, Fault(kind, sentence, shown(name)), name))
    known = set(wanted)
    extra = [name for name in counts if name not in known]
    if extra:
        report.remark(f"{origin}: these columns are not in the study's schema and are not read: {listing(extra)}")
    return [given.index(name) if name in counts else None for name in wanted]


def select(table: NDArray[np.float64], places: Places) -> NDArray[np.float64]:
    """Give the columns at these positions; one that is missing is all NaN."""
    chosen = np.full((len(table), len(places)), np.nan)
    for column, place in enumerate(places):
        if place is not None:
            chosen[:, column] = table[:, place]
    return chosen
