"""Local training: deterministic, alone on one thread, and honest about failure."""

import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from learning_samples import image_dataset, image_spec, tiny_dataset, tiny_spec

from swarm import training
from swarm.data import Part
from swarm.errors import TrainingError
from swarm.metrics import classification
from swarm.models import initial_weights
from swarm.moments import Standardisation, compute_moments
from swarm.training import FlatModel, Inputs, as_columns, as_rows, batches, predict, round_seed, steps_of_round, train
from swarm.weights import flatten, layout_of

PLAIN = {"standardise": False}
NORMED = {"architecture": "mlp", "parameters": {"hidden": [6], "batch_norm": True, "dropout": 0.3}}


def trained(spec, dataset=None, round_number=1, **options):
    data = Inputs.of(dataset or tiny_dataset(), spec, None)
    return train(spec, FlatModel.of(spec), flatten(initial_weights(spec)), data, round_number, **options)


def auc(spec, vector, dataset):
    probabilities = predict(spec, FlatModel.of(spec), vector, Inputs.of(dataset, spec, None))
    return classification(dataset.labels, probabilities, spec.data.classes).auc


@pytest.mark.parametrize("model", [{"architecture": "logistic"}, NORMED])
def test_the_same_round_gives_the_same_bytes(model):
    spec = tiny_spec(data=PLAIN, model=model)
    first = trained(spec).vector.tobytes()
    torch.manual_seed(3)
    torch.rand(5)
    assert trained(spec).vector.tobytes() == first


def test_another_round_or_seed_shuffles_otherwise():
    spec = tiny_spec(data=PLAIN)
    first = trained(spec).vector.tobytes()
    assert trained(spec, round_number=2).vector.tobytes() != first
    assert trained(tiny_spec(data=PLAIN, training={"seed": 1})).vector.tobytes() != first


PROGRAM = """
from learning_samples import tiny_dataset, tiny_spec
from swarm.models import initial_weights
from swarm.training import FlatModel, Inputs, train
from swarm.weights import flatten
spec = tiny_spec(data={"standardise": False}, model=%r)
data = Inputs.of(tiny_dataset(), spec, None)
print(train(spec, FlatModel.of(spec), flatten(initial_weights(spec)), data, 1).vector.tobytes().hex())
"""


@pytest.mark.slow
def test_another_process_with_other_threads_gives_the_same_bytes(tmp_path, monkeypatch):
    spec = tiny_spec(data=PLAIN, model=NORMED)
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    done = subprocess.run([sys.executable, "-c", PROGRAM % NORMED], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == trained(spec).vector.tobytes().hex()


def test_two_threads_that_train_at_once_do_not_disturb_each_other():
    spec = tiny_spec(data=PLAIN, model=NORMED, training={"local_epochs": 20})
    alone = trained(spec).vector.tobytes()
    found = []
    threads = [threading.Thread(target=lambda: found.append(trained(spec).vector.tobytes())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [alone, alone]


def test_torchs_settings_are_left_as_they_were():
    before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    trained(tiny_spec(data=PLAIN))
    assert (torch.get_num_threads(), torch.get_deterministic_debug_mode()) == before


@pytest.mark.parametrize(
    "model", [{"architecture": "logistic"}, NORMED, {"architecture": "mlp", "parameters": {"activation": "tanh"}}]
)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_moves_auc(model, optimizer):
    settings = {"optimizer": optimizer, "learning_rate": 0.05, "local_epochs": 10}
    spec = tiny_spec(data=PLAIN, model=model, training=settings)
    test = tiny_dataset(200, 5, Part.TEST)
    before = auc(spec, flatten(initial_weights(spec)), test)
    after = auc(spec, trained(spec).vector, test)
    assert after > max(before, 0.85)


def test_a_cnn_learns_images_of_three_classes():
    training_options = {"local_epochs": 8, "learning_rate": 0.01, "optimizer": "adam"}
    model = {"parameters": {"channels": [4], "hidden": 8, "batch_norm": True, "dropout": 0.1}}
    spec = image_spec(
        data={"shape": [2, 8, 8], "features": [], "classes": ["p", "q", "r"], "standardise": False},
        model={"architecture": "cnn", **model},
        training=training_options,
    )
    assert auc(spec, trained(spec, image_dataset(60)).vector, image_dataset(30, 1, Part.TEST)) > 0.9


def test_a_regression_learns():
    spec = tiny_spec(study={"task": "regression"}, data={"classes": [], **PLAIN}, training={"local_epochs": 20})
    dataset = tiny_dataset(60)
    target = (2 * dataset.features[:, 0] + 1).astype(np.float32)
    dataset = type(dataset)(dataset.features, target, dataset.names, Part.TRAIN)
    result = trained(spec, dataset)
    predictions = predict(spec, FlatModel.of(spec), result.vector, Inputs.of(dataset, spec, None))
    assert np.abs(predictions - target).mean() < 0.1


def test_a_rate_that_blows_up_is_an_error_with_advice():
    spec = tiny_spec(data=PLAIN, training={"learning_rate": 1000.0, "weight_decay": 900.0, "local_epochs": 50})
    with pytest.raises(TrainingError, match="learning_rate is too high"):
        trained(spec)


def test_progress_is_told_ten_times_a_second_at_most(monkeypatch):
    clock = iter(np.arange(0, 1000, 0.03))
    monkeypatch.setattr(training.time, "monotonic", lambda: float(next(clock)))
    told = []
    spec = tiny_spec(data=PLAIN, training={"local_epochs": 8})
    trained(spec, progress=lambda *report: told.append(report))
    steps = [step for step, _, _ in told]
    assert steps == [4, 8, 12, 16, 20, 24, 28, 32, 36, 40]
    assert all(total == 40 and 0 < loss < 2 for _, total, loss in told)


def test_a_flat_model_loads_and_reads_in_canonical_order():
    spec = tiny_spec(model=NORMED)
    weights = initial_weights(spec)
    model = FlatModel.of(spec)
    assert model.layout == layout_of(weights)
    vector = np.arange(len(flatten(weights)), dtype=np.float32)
    model.load(vector)
    np.testing.assert_array_equal(model.read(), vector)
    state = {name: tensor.numpy() for name, tensor in model.module.state_dict().items() if "tracked" not in name}
    np.testing.assert_array_equal(flatten(state), vector)


def test_weight_decay_leaves_batch_norms_statistics_alone():
    def variance(decay):
        spec = tiny_spec(
            data=PLAIN, model=NORMED, training={"local_steps": 1, "local_epochs": 0, "weight_decay": decay}
        )
        model = FlatModel.of(spec)
        train(spec, model, flatten(initial_weights(spec)), Inputs.of(tiny_dataset(), spec, None), 1)
        return model.module.get_buffer("norm1.running_var").numpy().copy()

    np.testing.assert_array_equal(variance(0.0), variance(0.5))


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 2**64))
def test_an_epoch_visits_each_row_once_and_no_batch_has_a_lone_row(rows, size, seed):
    spec = tiny_spec(training={"local_epochs": 3, "batch_size": size})
    count = steps_of_round(rows, spec.training)
    given_batches = batches(rows, size, seed)
    epochs = [[next(given_batches) for _ in range(count // 3)] for _ in range(3)]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(np.concatenate(epoch)), np.arange(rows))
        assert all(len(batch) > 1 for batch in epoch) or rows == 1 or size == 1
        assert all(len(batch) <= size + 1 for batch in epoch)


def test_a_study_may_count_steps_instead_of_epochs():
    spec = tiny_spec(data=PLAIN, training={"local_epochs": 0, "local_steps": 17})
    assert trained(spec).steps == 17
    assert trained(spec, steps=3).steps == 3


def test_seeds_of_rounds_are_golden():
    assert hex(round_seed(0, 1)) == "0xcc1d2165d0fd942a4383ee3777cd531e"
    assert round_seed(0, 1) != round_seed(1, 0)


def test_missing_statistics_are_an_error():
    with pytest.raises(TrainingError, match="agreed statistics are needed"):
        Inputs.of(tiny_dataset(), tiny_spec(), None)


def test_features_are_standardised_by_what_was_agreed():
    agreed = Standardisation(10, np.array([1.0, 2.0]), np.array([2.0, 4.0]))
    dataset = tiny_dataset()
    found = Inputs.of(dataset, tiny_spec(), agreed).features.numpy()
    np.testing.assert_allclose(found, (dataset.features - [1, 2]) / [2, 4], rtol=1e-6)


def test_images_are_standardised_by_channel():
    schema = image_spec().data
    images = image_dataset().features
    columns = as_columns(images, schema)
    assert columns.shape == (24 * 64, 2)
    np.testing.assert_array_equal(columns[:64, 1], images[0, 64:])
    np.testing.assert_array_equal(as_rows(columns, schema), images)
    assert compute_moments(columns).count == 24 * 64


def test_predictions_of_no_rows_are_empty():
    spec = tiny_spec(data=PLAIN)
    empty = tiny_dataset().take(np.empty(0, np.int64), Part.TEST)
    vector = flatten(initial_weights(spec))
    assert predict(spec, FlatModel.of(spec), vector, Inputs.of(empty, spec, None)).shape == (0, 2)
