"""The check of a site's data before anything runs: everything that doesn't fit, and what there is.

It reads and judges by the functions that load data for training; a source fits if, and only if, it would load.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm.data.loading import check_training_part, examine
from swarm.data.misfits import Fault, Kind, Misfit, Tally
from swarm.data.records import Records
from swarm.data.source import DataSource
from swarm.errors import DataError
from swarm.spec import DataSection, StudySpec


@dataclass(frozen=True, slots=True)
class PartSize:
    """How many records a part has whose label is known, and how many of each class; none in a regression."""

    records: int
    support: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a column, or an image's channel, holds: over all values that are numbers, whether they fit or not.

    `categories` counts each of the study's categories.
    """

    name: str
    unit: str
    minimum: float
    median: float
    maximum: float
    categories: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Check:
    """What a check found. It is about patients, and for the site's own operator alone.

    `records` counts all rows that could be read; `train` and `test` are this site's parts of them, as training would
    have them, without rows whose label is unknown.
    """

    misfits: tuple[Misfit, ...]
    remarks: tuple[str, ...]
    records: int
    train: PartSize | None
    test: PartSize | None
    features: tuple[Summary, ...]

    @property
    def fits(self) -> bool:
        """Whether the data would load for training."""
        return not self.misfits

    @property
    def count(self) -> int:
        """Number of places that don't fit."""
        return sum(misfit.count for misfit in self.misfits)


def check(source: DataSource, spec: StudySpec) -> Check:
    """Read a source to its end and find all that doesn't fit the study; raises nothing for data."""
    tally = Tally()
    read: list[Records] = []
    train: PartSize | None = None
    test: PartSize | None = None
    try:
        read.extend(examine(source, spec, tally))
        train, test = _parts(source, read, spec, tally)
    except DataError as error:
        tally.add(Misfit("", Fault(Kind.UNREADABLE, str(error))))
    return Check(tally.misfits, tally.remarks, sum(map(len, read)), train, test, _summaries(read, spec.data))


def _parts(source: DataSource, read: list[Records], spec: StudySpec, tally: Tally) -> tuple[PartSize, PartSize]:
    """Divide what has a label; where rows without one are left out, their part's size isn't held against the study."""
    labelled = [records.labelled(spec.data) for records in read]
    train, test = source.divide(labelled, spec)
    if sum(map(len, labelled)) == sum(map(len, read)):
        check_training_part(source, train, spec, tally)
    return _size(train, spec.data), _size(test, spec.data)


def _size(records: Records, schema: DataSection) -> PartSize:
    if not schema.classes:
        return PartSize(len(records), {})
    counts = np.bincount(records.labels, minlength=len(schema.classes)).tolist()
    return PartSize(len(records), dict(zip(schema.classes, counts, strict=True)))


def _summaries(read: list[Records], schema: DataSection) -> tuple[Summary, ...]:
    """Summarise each column, or each channel of an array, that holds a number at all."""
    width = len(read[0].features[0]) // schema.columns if read else 0
    found = []
    for column in range(schema.columns):
        values = [records.features[:, column * width : (column + 1) * width].ravel() for records in read]
        every = np.concatenate(values) if values else np.empty(0)
        summary = _summary(every[np.isfinite(every)], column, schema)
        found += [summary] if summary else []
    return tuple(found)


def _summary(values: NDArray[Any], column: int, schema: DataSection) -> Summary | None:
    if not len(values):
        return None
    low, middle, high = float(values.min()), float(np.median(values)), float(values.max())
    if not schema.features:
        return Summary(f"channel {column + 1}", "", low, middle, high, {})
    feature = schema.features[column]
    counts = {f"{category:g}": int((values == category).sum()) for category in feature.categories}
    return Summary(feature.name, feature.unit, low, middle, high, counts)
