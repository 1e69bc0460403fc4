"""Models by name, and their first weights."""

import hashlib

import numpy as np
import pytest
import torch
from learning_samples import image_spec, tiny_spec

from swarm.errors import SpecificationError
from swarm.memory_store import MemoryStore
from swarm.models import build, float_tensors, initial_weights, write_initial
from swarm.weights import flatten

MLP = {"architecture": "mlp", "parameters": {"hidden": [5, 3], "batch_norm": True, "dropout": 0.5}}


def test_a_logistic_model_starts_at_zero():
    weights = initial_weights(tiny_spec())
    assert {name: tensor.tolist() for name, tensor in weights.items()} == {
        "linear.weight": [[0.0, 0.0]],
        "linear.bias": [0.0],
    }


def test_float_buffers_travel_and_counters_stay():
    names = set(float_tensors(build(tiny_spec(model=MLP))))
    assert {"norm1.running_mean", "norm1.running_var", "hidden1.weight", "output.bias"} <= names
    assert not any("num_batches" in name for name in names)


def test_first_weights_are_torchs_in_spread_and_the_identity_in_batch_norm():
    weights = initial_weights(tiny_spec(model={"architecture": "mlp", "parameters": {"hidden": [400]}}))
    bound = 1 / np.sqrt(2)
    drawn = weights["hidden1.weight"]
    assert np.abs(drawn).max() <= bound
    assert drawn.std() == pytest.approx(bound / np.sqrt(3), rel=0.1)
    assert abs(drawn.mean()) < 0.1
    normed = initial_weights(tiny_spec(model=MLP))
    assert set(normed["norm1.weight"].tolist()) == set(normed["norm1.running_var"].tolist()) == {1.0}
    assert not normed["norm1.bias"].any()


def test_first_weights_are_golden():
    weights = initial_weights(tiny_spec(model=MLP))
    digest = hashlib.sha256(flatten(weights).tobytes()).hexdigest()
    assert digest == "30077d2978fb5822b8f9b661ac7f17f54d42a9ec2c071d2f6a5c6dee0918504f"


def test_first_weights_depend_on_the_seed_and_not_on_torchs_random_numbers():
    spec = tiny_spec(model=MLP)
    before = torch.get_rng_state()
    first = write_initial(spec, MemoryStore()).blob
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(7)
    assert write_initial(spec, MemoryStore()).blob == first
    assert write_initial(tiny_spec(model=MLP, training={"seed": 1}), MemoryStore()).blob != first


@pytest.mark.parametrize(
    ("spec", "outputs"),
    [
        (tiny_spec(), 1),
        (tiny_spec(training={"loss": "cross_entropy"}), 2),
        (tiny_spec(study={"task": "regression"}, data={"classes": []}), 1),
        (tiny_spec(study={"task": "multiclass"}, data={"classes": ["p", "q", "r"]}), 3),
    ],
)
def test_the_outputs_follow_from_task_and_loss(spec, outputs):
    assert build(spec)(torch.zeros(4, 2)).shape == (4, outputs)


def test_a_cnn_takes_flattened_images():
    assert build(image_spec())(torch.zeros(5, 128)).shape == (5, 3)


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: tiny_spec(model={"architecture": "transformer"}), "'transformer' is not one of cnn, logistic, mlp"),
        (lambda: tiny_spec(model={"parameters": {"hidden": [3]}}), "model.parameters.hidden: Extra inputs"),
        (lambda: tiny_spec(model={**MLP, "parameters": {"hidden": []}}), "model.parameters.hidden"),
        (lambda: tiny_spec(model={**MLP, "parameters": {"hidden": [0]}}), "model.parameters.hidden.0"),
        (lambda: tiny_spec(model={**MLP, "parameters": {"dropout": 1.0}}), "model.parameters.dropout"),
        (lambda: tiny_spec(model={**MLP, "parameters": {"hidden": [65536] * 3}}), "more than 2147483648"),
        (lambda: tiny_spec(model=MLP, training={"batch_size": 1}), "batch norm needs batches of two"),
        (lambda: tiny_spec(model={"architecture": "cnn"}), "cnn needs data.shape"),
        (lambda: image_spec(model={"architecture": "cnn", "parameters": {"channels": [2] * 4}}), "too small"),
    ],
)
def test_bad_parameters_are_refused_with_the_field(make, fault):
    with pytest.raises(SpecificationError) as caught:
        build(make())
    assert fault in str(caught.value)
