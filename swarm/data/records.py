"""Records as a source gives them, and the check of each value against the study's schema."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm.data.dataset import Dataset, Part, Rows
from swarm.errors import DataError
from swarm.spec import DataSection, Feature

SHOWN_NAMES = 5


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """Rows [n, d] and labels [n] in the study's order; `origin` and `places` say in errors where a row comes from.

    `places` are line numbers, or row numbers from 1.
    """

    features: NDArray[np.float64]
    labels: NDArray[Any]
    origin: str
    places: Rows

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Rows) -> "Records":
        """Give the rows of these indices, in this order."""
        return Records(self.features[rows], self.labels[rows], self.origin, self.places[rows])

    def error(self, row: int, column: str, fault: str) -> DataError:
        """Name the place of a bad value."""
        return DataError(f"{self.origin}, row {self.places[row]}, column {column!r}: {fault}")

    def dataset(self, schema: DataSection, part: Part) -> Dataset:
        """Check every value against the schema; raises DataError naming file, row and column."""
        if schema.features:
            for index, feature in enumerate(schema.features):
                self._check_column(self.features[:, index], feature)
        else:
            self._check_finite(self.features, "the array")
        with np.errstate(over="ignore"):
            features = self.features.astype(np.float32)
        bad = np.argwhere(~np.isfinite(features))
        if len(bad):
            raise self.error(bad[0, 0], _name(schema, bad[0, 1]), "the value doesn't fit a 32-bit float")
        return Dataset(features, self._labels(schema), tuple(feature.name for feature in schema.features), part)

    def _check_column(self, values: NDArray[np.float64], feature: Feature) -> None:
        self._check_finite(values, feature.name)
        if feature.range is not None:
            low, high = feature.range
            self._refuse((values < low) | (values > high), values, feature.name, f"is outside {low:g} to {high:g}")
        if feature.categories:
            listed = ", ".join(f"{category:g}" for category in feature.categories)
            self._refuse(~np.isin(values, feature.categories), values, feature.name, f"is not one of {listed}")

    def _check_finite(self, values: NDArray[Any], column: str) -> None:
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            raise self.error(bad[0, 0], column, "the value is missing or not finite")

    def _refuse(self, bad: NDArray[np.bool_], values: NDArray[Any], column: str, fault: str) -> None:
        rows = np.flatnonzero(bad)
        if len(rows):
            raise self.error(rows[0], column, f"{values[rows[0]]:g} {fault}")

    def _labels(self, schema: DataSection) -> NDArray[Any]:
        if not schema.classes:
            self._check_finite(self.labels, schema.label)
            return self.labels.astype(np.float32)
        rows = np.flatnonzero((self.labels < 0) | (self.labels >= len(schema.classes)))
        if len(rows):
            fault = f"{self.labels[rows[0]]} is not a class index from 0 to {len(schema.classes) - 1}"
            raise self.error(rows[0], schema.label, fault)
        return self.labels.astype(np.int64)


def arrange(given: Sequence[str], wanted: Sequence[str], origin: str) -> list[int]:
    """Give the position of each wanted column among the given ones; raises DataError unless both hold the same."""
    doubled = sorted({name for name in given if list(given).count(name) > 1})
    missing = [name for name in wanted if name not in given]
    extra = [name for name in given if name not in wanted]
    for names, fault in ((doubled, "appear twice"), (missing, "are missing"), (extra, "are not in the study's schema")):
        if names:
            shown = ", ".join(repr(name[:64]) for name in names[:SHOWN_NAMES])
            more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
            raise DataError(f"{origin}: these columns {fault}: {shown}{more}")
    return [list(given).index(name) for name in wanted]


def _name(schema: DataSection, index: int) -> str:
    return schema.features[index].name if schema.features else "the array"
