"""Metrics and intervals, against known cases and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from swarm.intervals import bootstrap, over_seeds
from swarm.metrics import binary_auc, calibration, classification, regression

CLASSES = ("no", "yes")


def binary(positive):
    positive = np.asarray(positive, np.float64)
    return np.stack([1 - positive, positive], axis=1)


samples = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 20).map(lambda n: n / 20)), min_size=2, max_size=60
).filter(lambda rows: len({label for label, _ in rows}) == 2)


@given(samples)
def test_binary_metrics_are_scikit_learns(rows):
    labels, scores = np.array([label for label, _ in rows]), np.array([score for _, score in rows])
    found = classification(labels, binary(scores), CLASSES)
    predicted = (scores > 0.5).astype(int)
    assert found.auc == pytest.approx(reference.roc_auc_score(labels, scores))
    assert found.accuracy == pytest.approx(reference.accuracy_score(labels, predicted))
    assert found.balanced_accuracy == pytest.approx(reference.balanced_accuracy_score(labels, predicted))
    assert found.log_loss == pytest.approx(reference.log_loss(labels, scores))
    assert found.brier == pytest.approx(reference.brier_score_loss(labels, scores))
    assert found.undefined == {}


def test_multiclass_metrics_are_scikit_learns():
    draw = np.random.default_rng(0)
    labels = np.arange(60) % 3
    probabilities = draw.dirichlet(np.ones(3), 60)
    found = classification(labels, probabilities, ("p", "q", "r"))
    predicted = probabilities.argmax(axis=1)
    assert found.auc == pytest.approx(reference.roc_auc_score(labels, probabilities, multi_class="ovr"))
    assert found.balanced_accuracy == pytest.approx(reference.balanced_accuracy_score(labels, predicted))
    assert found.log_loss == pytest.approx(reference.log_loss(labels, probabilities))
    assert found.brier == pytest.approx(np.mean(((probabilities - np.eye(3)[labels]) ** 2).sum(axis=1)))
    assert found.support == {"p": 20, "q": 20, "r": 20}


def test_one_class_leaves_auc_undefined_and_says_why():
    found = classification(np.ones(4, int), binary([0.9, 0.8, 0.4, 0.7]), CLASSES)
    assert found.auc is None
    assert found.balanced_accuracy is None
    assert found.accuracy == 0.75
    assert found.undefined == dict.fromkeys(("balanced_accuracy", "auc"), "all 4 patients are of the class 'yes'")
    assert found.support == {"no": 0, "yes": 4}


def test_no_patients_leave_everything_undefined():
    found = classification(np.empty(0, int), np.empty((0, 2)), CLASSES)
    assert (found.n, found.accuracy, found.auc, found.calibration) == (0, None, None, ())
    assert set(found.undefined.values()) == {"there are no patients to test on"}
    assert len(found.undefined) == 6


def test_the_record_holds_null_not_zero():
    record = classification(np.ones(4, int), binary([0.9] * 4), CLASSES).record()
    assert record["auc"] is None
    assert record["calibration"][9]["count"] == 4
    assert record["calibration"][0] == {"low": 0.0, "high": 0.1, "count": 0, "predicted": None, "observed": None}


def test_perfect_calibration_has_no_error():
    labels = np.array([1, 0, 0, 0, 1, 1, 1, 0])
    found = classification(labels, binary([0.25] * 4 + [0.75] * 4), CLASSES)
    assert found.ece == pytest.approx(0)
    assert found.brier == pytest.approx(0.1875)


def test_overconfidence_is_the_gap_weighted_by_counts():
    labels = np.array([1, 0, 0, 0, 1])
    found = classification(labels, binary([0.95] * 4 + [0.55]), CLASSES)
    assert found.ece == pytest.approx(4 / 5 * 0.70 + 1 / 5 * 0.45)


def test_a_boundary_belongs_to_the_upper_bin_and_one_to_the_last():
    bins = calibration(np.array([0.0, 0.1, 0.5, 1.0]), np.array([False, True, True, True]))
    assert [place.count for place in bins] == [1, 1, 0, 0, 0, 1, 0, 0, 0, 1]
    assert bins[5].observed == 1.0


def test_multiclass_calibration_is_of_the_predicted_class():
    labels = np.array([0, 1, 2, 0])
    probabilities = np.array([[0.85, 0.1, 0.05]] * 4)
    assert classification(labels, probabilities, ("p", "q", "r")).ece == pytest.approx(0.35)


def test_ties_count_half():
    assert binary_auc(np.array([True, False]), np.array([0.5, 0.5])) == 0.5
    assert binary_auc(np.array([True, False, False]), np.array([0.5, 0.5, 0.1])) == 0.75


def test_a_certain_mistake_has_a_finite_log_loss():
    found = classification(np.array([0, 1]), binary([1.0, 0.0]), CLASSES)
    assert found.log_loss == pytest.approx(-np.log(np.finfo(float).eps))


def test_regression_metrics():
    found = regression(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 5.0]))
    assert (found.rmse, found.mae, found.r2) == pytest.approx(((4 / 3) ** 0.5, 2 / 3, -1.0))
    assert regression(np.array([2.0, 2.0]), np.array([2.0, 1.0])).undefined == {
        "r2": "all 2 patients have the same value"
    }
    assert regression(np.empty(0), np.empty(0)).rmse is None


def test_the_interval_over_seeds_is_students():
    interval = over_seeds([1.0, 2.0, 3.0])
    assert (interval.low, interval.estimate, interval.high) == pytest.approx((2 - 2.4841377, 2, 2 + 2.4841377))
    assert over_seeds([1.0]) is None


def test_the_bootstrap_brackets_the_estimate_and_repeats():
    draw = np.random.default_rng(1)
    labels = draw.integers(0, 2, 80)
    probabilities = binary(np.clip(labels * 0.3 + draw.random(80) * 0.7, 0, 1))
    first = bootstrap(labels, probabilities, resamples=200, seed=3)
    assert first == bootstrap(labels, probabilities, resamples=200, seed=3)
    for name in ("auc", "accuracy", "log_loss"):
        assert first[name].low < first[name].estimate < first[name].high
    assert first["auc"].samples == 200


def test_the_bootstrap_leaves_out_resamples_of_one_class_and_says_how_many():
    labels = np.array([0] + [1] * 7)
    intervals = bootstrap(labels, binary(np.linspace(0, 1, 8)), resamples=300)
    assert 150 <= intervals["auc"].samples < 300
    assert intervals["accuracy"].samples == 300


def test_the_bootstrap_of_an_undefined_metric_is_none():
    assert bootstrap(np.ones(5, int), binary([0.5] * 5), resamples=50)["auc"] is None
    assert bootstrap(np.empty(0, int), np.empty((0, 2)), resamples=50)["accuracy"] is None
