"""First weights of a model that is known by its layout alone: the same bytes everywhere, and fit to be trained from."""

import hashlib

import numpy as np

from swarm.first_weights import draw_layout
from swarm.manifest import TensorShape
from swarm.models import initial_weights
from swarm.weights import flatten
from tests.swarm.learning_samples import tiny_spec
from tests.swarm.loop_samples import loop_spec, small_module


def test_the_bytes_follow_from_layout_and_seed_alone():
    layout = (TensorShape("a.weight", (4, 3)), TensorShape("b", ()), TensorShape("n.running_var", (2,)))
    first = flatten(draw_layout(layout, 7))
    assert hashlib.sha256(first.tobytes()).hexdigest() == GOLDEN
    assert (first == flatten(draw_layout(layout, 7))).all()
    assert (first != flatten(draw_layout(layout, 8))).any()


GOLDEN = "a72b94d313e5d8a74e267a0afbfe94955a9fb6c9b90d8f8747bb78e0e824d43e"


def test_normalisation_starts_as_the_identity_and_layers_within_their_bound():
    weights = draw_layout(loop_spec().model.tensors, 0)
    assert (weights["1.weight"] == 1).all()
    assert (weights["1.running_var"] == 1).all()
    assert (weights["1.running_mean"] == 0).all()
    assert (weights["0.bias"] == 0).all()
    assert 0 < np.abs(weights["3.weight"]).max() <= 3**-0.5


def test_a_layers_weights_are_those_of_the_same_layer_in_a_built_in_model():
    built_in = initial_weights(tiny_spec(model={"architecture": "mlp", "parameters": {"hidden": [5]}}))
    drawn = draw_layout((TensorShape("hidden1.weight", (5, 2)),), tiny_spec().training.seed)
    assert (drawn["hidden1.weight"] == built_in["hidden1.weight"]).all()


def test_a_custom_study_starts_from_its_layouts_weights():
    spec = loop_spec()
    drawn = draw_layout(spec.model.tensors, spec.training.seed)
    assert (flatten(initial_weights(spec)) == flatten(drawn)).all()
    assert set(drawn) == {name for name, _ in small_module().state_dict().items() if "num_batches" not in name}
