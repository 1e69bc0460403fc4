"""Validated local data: what a site trains on, and what it holds back to test on."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm.errors import DataError

MAX_ROWS = 10_000_000
MAX_VALUES = 1 << 28

Rows = NDArray[np.int64]


class Part(StrEnum):
    """Which part of a site's data a dataset is."""

    TRAIN = "train"
    TEST = "test"


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Rows of one part: features float32 [n, d] in the study's order, and labels [n]; finite and read-only.

    Labels are class indices (int64), or numbers (float32) where the study is a regression. `names` are those of the
    columns; images are flattened in C order and have none. Raises DataError where something doesn't fit.
    """

    features: NDArray[np.float32]
    labels: NDArray[Any]
    names: tuple[str, ...]
    part: Part

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or (self.names and self.features.shape[1] != len(self.names)):
            raise DataError(
                f"{self.part} part: features {self.features.shape} don't fit {len(self.names)} column names"
            )
        if self.labels.shape != self.features.shape[:1]:
            raise DataError(f"{self.part} part: {len(self.features)} rows of features, {len(self.labels)} labels")
        if len(self) > MAX_ROWS or self.features.size > MAX_VALUES:
            raise DataError(f"{self.part} part: more than {MAX_ROWS} rows or {MAX_VALUES} values")
        if self.features.dtype != np.float32 or self.labels.dtype not in (np.int64, np.float32):
            raise DataError(f"{self.part} part: features must be float32, and labels int64 or float32")
        if not (np.isfinite(self.features).all() and np.isfinite(self.labels).all()):
            raise DataError(f"{self.part} part: a value is missing or not finite")
        self.features.setflags(write=False)
        self.labels.setflags(write=False)

    def __len__(self) -> int:
        return len(self.labels)

    def support(self, classes: int) -> tuple[int, ...]:
        """Number of rows of each class."""
        return tuple(np.bincount(self.labels, minlength=classes).tolist())

    def take(self, rows: Rows, part: Part | None = None) -> "Dataset":
        """Give the rows of these indices, in this order."""
        return Dataset(self.features[rows], self.labels[rows], self.names, self.part if part is None else part)


@dataclass(frozen=True, slots=True, eq=False)
class SiteData:
    """One site's data: a training part, and a test part that nothing but evaluation looks at."""

    train: Dataset
    test: Dataset

    def __post_init__(self) -> None:
        if (self.train.names, self.train.features.shape[1]) != (self.test.names, self.test.features.shape[1]):
            raise DataError("training and test part have different columns")

    @property
    def samples(self) -> int:
        """Rows of both parts."""
        return len(self.train) + len(self.test)


def pool(datasets: Sequence[Dataset]) -> Dataset:
    """Put all rows of several datasets of one part together, in the given order; raises DataError."""
    first = datasets[0]
    if any((dataset.names, dataset.part) != (first.names, first.part) for dataset in datasets):
        raise DataError("only datasets with the same columns and of the same part can be pooled")
    return Dataset(
        np.concatenate([dataset.features for dataset in datasets]),
        np.concatenate([dataset.labels for dataset in datasets]),
        first.names,
        first.part,
    )
