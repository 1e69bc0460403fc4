"""How good predictions are. A metric that the data doesn't define is None, beside the reason."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

CALIBRATION_BINS = 10
_SMALLEST = np.finfo(np.float64).eps  # what a probability of 0 counts as in the log loss

Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Predictions from `low` to `high`: how many, their mean, and how often they came true (None without any)."""

    low: float
    high: float
    count: int
    predicted: float | None
    observed: float | None


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """Metrics of a classification on `n` patients, `support` of each class.

    A prediction is the most probable class (for two classes: the positive, second one above 0.5). `auc` with more than
    two classes is the mean over those present, each against the rest. `balanced_accuracy` is the mean recall of the
    classes present. `brier` is the mean squared error of the positive class's probability, or summed over the classes
    where there are more than two. `ece` is the expected calibration error over ten bins of equal width (Naeini et al.
    2015): of the positive class's probability, or of the predicted class's where there are more than two.
    """

    n: int
    support: dict[str, int]
    accuracy: float | None = None
    balanced_accuracy: float | None = None
    auc: float | None = None
    log_loss: float | None = None
    brier: float | None = None
    ece: float | None = None
    calibration: tuple[CalibrationBin, ...] = ()
    undefined: dict[str, str] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Give it as JSON takes it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RegressionMetrics:
    """Metrics of a regression on `n` patients: root mean squared and mean absolute error, and R squared."""

    n: int
    rmse: float | None = None
    mae: float | None = None
    r2: float | None = None
    undefined: dict[str, str] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Give it as JSON takes it."""
        return asdict(self)


Metrics = ClassMetrics | RegressionMetrics


def measure(labels: NDArray[Any], predictions: NDArray[np.float64], classes: Sequence[str]) -> Metrics:
    """Measure what a study's model predicts: a classification where the study has classes, else a regression."""
    return classification(labels, predictions, classes) if classes else regression(labels, predictions)


def classification(labels: Labels, probabilities: Probabilities, classes: Sequence[str]) -> ClassMetrics:
    """Measure probabilities [n, classes] against class indices [n]."""
    counts = np.bincount(labels, minlength=len(classes))
    support = dict(zip(classes, counts.tolist(), strict=True))
    if not len(labels):
        return ClassMetrics(0, support, undefined=dict.fromkeys(METRICS, "there are no patients to test on"))
    values = {name: metric(labels, probabilities) for name, metric in METRICS.items()}
    present = [name for name, count in support.items() if count]
    reason = f"all {len(labels)} patients are of the class {present[0]!r}"
    undefined = {name: reason for name, value in values.items() if value is None}
    bins = calibration(*_confidence(labels, probabilities))
    return ClassMetrics(len(labels), support, **values, calibration=bins, undefined=undefined)


def regression(labels: NDArray[Any], predictions: NDArray[np.float64]) -> RegressionMetrics:
    """Measure predictions [n] against numbers [n]."""
    if not len(labels):
        return RegressionMetrics(0, undefined=dict.fromkeys(("rmse", "mae", "r2"), "there are no patients to test on"))
    errors = predictions - labels.astype(np.float64)
    spread = float(np.var(labels.astype(np.float64)))
    mse = float(np.mean(errors**2))
    undefined = {} if spread else {"r2": f"all {len(labels)} patients have the same value"}
    mae = float(np.mean(np.abs(errors)))
    return RegressionMetrics(len(labels), mse**0.5, mae, 1 - mse / spread if spread else None, undefined)


def accuracy(labels: Labels, probabilities: Probabilities) -> float:
    """Share of right predictions."""
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def balanced_accuracy(labels: Labels, probabilities: Probabilities) -> float | None:
    """Mean recall of the classes present; None where there is one only."""
    right = probabilities.argmax(axis=1) == labels
    present = np.unique(labels)
    return float(np.mean([right[labels == label].mean() for label in present])) if len(present) > 1 else None


def auc(labels: Labels, probabilities: Probabilities) -> float | None:
    """Area under the ROC curve; None where there is one class only."""
    if probabilities.shape[1] == 2:
        return binary_auc(labels == 1, probabilities[:, 1])
    areas = [binary_auc(labels == label, probabilities[:, label]) for label in np.unique(labels)]
    defined = [area for area in areas if area is not None]
    return float(np.mean(defined)) if defined else None


def binary_auc(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> float | None:
    """Probability that a positive scores above a negative, ties counting half (Mann and Whitney)."""
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return None
    _, where, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[where]
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def log_loss(labels: Labels, probabilities: Probabilities) -> float:
    """Mean negative logarithm of the true class's probability, in nats."""
    chosen = probabilities[np.arange(len(labels)), labels]
    return float(-np.mean(np.log(np.maximum(chosen, _SMALLEST))))


def brier(labels: Labels, probabilities: Probabilities) -> float:
    """Brier score; see ClassMetrics."""
    truth = np.eye(probabilities.shape[1])[labels]
    squares = (probabilities - truth) ** 2
    return float(np.mean(squares[:, 1] if probabilities.shape[1] == 2 else squares.sum(axis=1)))


def expected_calibration_error(labels: Labels, probabilities: Probabilities) -> float:
    """Mean gap between prediction and outcome over the bins, weighted by their counts."""
    bins = calibration(*_confidence(labels, probabilities))
    gaps = [b.count * abs(b.predicted - b.observed) for b in bins if b.predicted is not None and b.observed is not None]
    return float(sum(gaps) / len(labels))


def calibration(predicted: NDArray[np.float64], outcome: NDArray[np.bool_]) -> tuple[CalibrationBin, ...]:
    """Put predictions into ten bins of equal width; a boundary belongs to the upper bin."""
    places = np.minimum((predicted * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    counts = np.bincount(places, minlength=CALIBRATION_BINS)
    sums = np.bincount(places, predicted, CALIBRATION_BINS)
    hits = np.bincount(places, outcome, CALIBRATION_BINS)
    return tuple(
        CalibrationBin(
            index / CALIBRATION_BINS,
            (index + 1) / CALIBRATION_BINS,
            int(count),
            float(sums[index] / count) if count else None,
            float(hits[index] / count) if count else None,
        )
        for index, count in enumerate(counts)
    )


def _confidence(labels: Labels, probabilities: Probabilities) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    if probabilities.shape[1] == 2:
        return probabilities[:, 1], labels == 1
    predicted = probabilities.argmax(axis=1)
    return probabilities[np.arange(len(labels)), predicted], predicted == labels


METRICS: dict[str, Callable[[Labels, Probabilities], float | None]] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "auc": auc,
    "log_loss": log_loss,
    "brier": brier,
    "ece": expected_calibration_error,
}
