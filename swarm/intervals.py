"""How sure a metric is: over seeds, and over patients."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from swarm.data.shards import generator
from swarm.metrics import METRICS, Labels, Probabilities

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its interval; `samples` are the seeds or resamples that it rests on."""

    estimate: float
    low: float
    high: float
    samples: int
    level: float = LEVEL


def over_seeds(values: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Give the mean over seeds and its t interval; None for fewer than two values."""
    if len(values) < 2:
        return None
    from scipy.special import stdtrit

    mean = float(np.mean(values))
    quantile = float(stdtrit(len(values) - 1, (1 + level) / 2))
    half = quantile * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return Interval(mean, mean - half, mean + half, len(values), level)


def bootstrap(
    labels: Labels,
    probabilities: Probabilities,
    *,
    names: Sequence[str] = tuple(METRICS),
    resamples: int = 1000,
    seed: int = 0,
    level: float = LEVEL,
) -> dict[str, Interval | None]:
    """Give each metric's percentile interval over patients drawn with replacement (Efron 1979).

    A resample that doesn't define the metric (one class only) is left out, so that `samples` may be below
    `resamples`; a metric that the patients themselves don't define, or half the resamples don't, is None.
    """
    draw = generator("bootstrap", seed)
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(resamples if len(labels) else 0):
        rows = draw.integers(0, len(labels), len(labels))
        for name, values in found.items():
            value = METRICS[name](labels[rows], probabilities[rows])
            if value is not None:
                values.append(value)
    tails = [(1 - level) / 2, (1 + level) / 2]
    intervals: dict[str, Interval | None] = {}
    for name, values in found.items():
        estimate = METRICS[name](labels, probabilities) if len(labels) else None
        if estimate is None or 2 * len(values) < resamples:
            intervals[name] = None
            continue
        low, high = np.quantile(values, tails)
        intervals[name] = Interval(estimate, float(low), float(high), len(values), level)
    return intervals
