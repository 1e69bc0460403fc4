"""Dividing one data set among sites that differ in size and in how often each class occurs."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm.data.dataset import Rows
from swarm.errors import DataError

SIZE_CONCENTRATION = 4.0
LABEL_CONCENTRATION = 0.4
FEWEST_OF_A_CLASS = 3


def generator(*parts: object) -> np.random.Generator:
    """Make a random generator that depends on the given values and on nothing else."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return np.random.Generator(np.random.Philox(int.from_bytes(digest[:16], "big")))


def split_shards(labels: NDArray[np.int64], n_sites: int, seed: int) -> list[Rows]:
    """Divide rows among sites, unequal in size and skewed in labels; the shards are disjoint and cover every row.

    The sites' sizes are drawn from a Dirichlet distribution, and for each class their shares from another one around
    these sizes (Hsu et al. 2019 skew labels the same way). Every site gets an even part of a quarter of each class
    first, and three rows of it at least, so that each can train and test. Rows of a shard are in ascending order.
    Raises DataError where there are too few.
    """
    if n_sites < 1:
        raise DataError("shards: at least one site is needed")
    draw = generator("shards", n_sites, seed)
    sizes = draw.dirichlet(np.full(n_sites, SIZE_CONCENTRATION))
    shards: list[list[Rows]] = [[] for _ in range(n_sites)]
    for label in np.unique(labels):
        rows = draw.permutation(np.flatnonzero(labels == label))
        minimum = fewest_rows(len(rows), n_sites)
        if len(rows) < n_sites * minimum:
            raise DataError(f"shards: {len(rows)} rows of class {label} can't give {n_sites} sites {minimum} each")
        shares = draw.dirichlet(LABEL_CONCENTRATION * n_sites * np.maximum(sizes, 1e-3))
        counts = minimum + apportion(shares, len(rows) - n_sites * minimum)
        for site, piece in enumerate(np.split(rows, np.cumsum(counts)[:-1])):
            shards[site].append(piece)
    return [np.sort(np.concatenate(pieces)) for pieces in shards]


def fewest_rows(total: int, n_sites: int) -> int:
    """Say how many of a class's rows each site gets for certain."""
    comfortable = min(2 * FEWEST_OF_A_CLASS, total // (2 * n_sites))
    return max(FEWEST_OF_A_CLASS, total // (4 * n_sites), comfortable)


def apportion(shares: NDArray[np.float64], total: int) -> Rows:
    """Give whole numbers in proportion to `shares` that add up to `total`: largest remainder first."""
    exact = shares / shares.sum() * total
    counts: Rows = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - counts), kind="stable")
    counts[order[: total - int(counts.sum())]] += 1
    return counts


def split_test(labels: NDArray[Any], fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Training and test rows, stratified: of each class with at least two rows, one at least is on either side.

    A class with a single row stays in training. Rows are in ascending order.
    """
    draw = generator("test", fraction, seed)
    test: list[Rows] = []
    for label in np.unique(labels):
        rows = draw.permutation(np.flatnonzero(labels == label))
        count = round(len(rows) * fraction)
        test.append(rows[: min(max(count, 1), len(rows) - 1) if len(rows) > 1 and fraction > 0 else 0])
    held_out = np.sort(np.concatenate(test)) if test else np.empty(0, np.int64)
    return np.setdiff1d(np.arange(len(labels), dtype=np.int64), held_out), held_out
