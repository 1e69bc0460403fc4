"""A module of one's own as a study sees it: what travels, what stays, and what doesn't fit."""

import numpy as np
import pytest
import torch
from torch import nn

from swarm.errors import LayoutDiffers
from swarm.loop.module import OwnModule, describe, save
from swarm.manifest import TensorShape
from swarm.model_file import model_hash
from tests.swarm.loop_samples import descend, small_module


def test_parameters_and_float_buffers_travel_and_integer_buffers_stay():
    assert describe(small_module()) == {
        "0.bias": [3],
        "0.weight": [3, 2],
        "1.bias": [3],
        "1.running_mean": [3],
        "1.running_var": [3],
        "1.weight": [3],
        "3.bias": [1],
        "3.weight": [1, 3],
    }


def test_what_is_read_is_what_was_loaded_and_an_optimizer_goes_on_with_it():
    module = small_module()
    own = OwnModule(module)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    descend(module, optimizer)
    momentum = [optimizer.state[one]["momentum_buffer"].clone() for one in module.parameters()]
    vector = np.linspace(0.1, 1, len(own.read()), dtype=np.float32)
    own.load(vector)
    assert (own.read() == vector).all()
    kept = [optimizer.state[one]["momentum_buffer"] for one in module.parameters()]
    assert all((one == other).all() for one, other in zip(momentum, kept, strict=True))
    descend(module, optimizer)
    assert (own.read() != vector).any()


def test_it_is_read_where_it_is_now_also_after_it_was_replaced():
    module = small_module()
    own = OwnModule(module)
    with torch.no_grad():
        module[0].weight = nn.Parameter(torch.full((3, 2), 9.0))
    assert (own.read()[3:9] == 9).all()


def test_tied_weights_travel_once():
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    module[1].weight = module[0].weight
    assert describe(module) == {"0.weight": [2, 2]}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_than_float32_are_refused(dtype):
    with pytest.raises(LayoutDiffers, match=r"'weight' is torch|'bias' is torch"):
        OwnModule(nn.Linear(2, 2).to(dtype))


def test_a_refusal_names_the_tensors_and_counts_those_that_it_does_not_name():
    own = OwnModule(nn.Linear(2, 2))
    own.check((TensorShape("bias", (2,)), TensorShape("weight", (2, 2))))
    with pytest.raises(LayoutDiffers, match=r"bias is \[2\], not \[3\]; weight \[2, 2\] is not the study's"):
        own.check((TensorShape("bias", (3,)),))
    with pytest.raises(LayoutDiffers, match="and 14 more"):
        own.check(tuple(TensorShape(f"t{number:02}", (1,)) for number in range(20)))


def test_a_saved_module_is_a_model_file(tmp_path):
    assert save(small_module(), tmp_path / "model.safetensors") == model_hash(tmp_path / "model.safetensors")
