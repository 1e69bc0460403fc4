"""Our optimizers take torch's steps."""

import pytest
import torch
from learning_samples import tiny_spec

from swarm.optimizers import make_optimizer

CASES = [
    ({"optimizer": "sgd"}, torch.optim.SGD, {}),
    ({"optimizer": "sgd", "momentum": 0.9}, torch.optim.SGD, {"momentum": 0.9}),
    (
        {"optimizer": "sgd", "momentum": 0.5, "weight_decay": 0.1},
        torch.optim.SGD,
        {"momentum": 0.5, "weight_decay": 0.1},
    ),
    ({"optimizer": "adam"}, torch.optim.Adam, {}),
    ({"optimizer": "adam", "weight_decay": 0.1}, torch.optim.Adam, {"weight_decay": 0.1}),
]


@pytest.mark.parametrize(("training", "reference", "options"), CASES)
def test_steps_are_torchs(training, reference, options):
    gradients = torch.randn(12, 7, generator=torch.Generator().manual_seed(0))
    ours = torch.linspace(-1, 1, 7)
    theirs = torch.nn.Parameter(ours.clone())
    optimizer = make_optimizer(tiny_spec(training={"learning_rate": 0.05, **training}).training)
    expected = reference([theirs], lr=0.05, **options)
    for gradient in gradients:
        theirs.grad = gradient.clone()
        expected.step()
        optimizer.step(ours, gradient.clone())
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-5, atol=1e-6)
