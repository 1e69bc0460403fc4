"""SGD and Adam on one flat vector.

The arithmetic is that of `torch.optim`, which a test compares; the first use of `torch.optim` imports torch's compiler
(more than a second and 70 MB in each site's training process), and steps tensor by tensor.
"""

from typing import Protocol

import torch

from swarm.spec import TrainingSection

ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-8


class Optimizer(Protocol):
    """Moves a vector of parameters against a gradient of the same length; the gradient is used up."""

    def step(self, parameters: torch.Tensor, gradient: torch.Tensor) -> None:
        """Take one step, in place."""
        ...


class Sgd:
    """Stochastic gradient descent with heavy-ball momentum and L2 weight decay."""

    def __init__(self, learning_rate: float, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        self._rate, self._momentum, self._decay = learning_rate, momentum, weight_decay
        self._velocity: torch.Tensor | None = None

    def step(self, parameters: torch.Tensor, gradient: torch.Tensor) -> None:
        """Take one step, in place."""
        if self._decay:
            gradient.add_(parameters, alpha=self._decay)
        if self._momentum:
            if self._velocity is None:
                self._velocity = gradient.clone()
            else:
                self._velocity.mul_(self._momentum).add_(gradient)
            gradient = self._velocity
        parameters.add_(gradient, alpha=-self._rate)


class Adam:
    """Adam (Kingma and Ba 2015) with L2 weight decay."""

    def __init__(self, learning_rate: float, weight_decay: float = 0.0) -> None:
        self._rate, self._decay = learning_rate, weight_decay
        self._steps = 0
        self._mean: torch.Tensor | None = None
        self._square: torch.Tensor | None = None

    def step(self, parameters: torch.Tensor, gradient: torch.Tensor) -> None:
        """Take one step, in place."""
        if self._decay:
            gradient.add_(parameters, alpha=self._decay)
        if self._mean is None or self._square is None:
            self._mean, self._square = torch.zeros_like(parameters), torch.zeros_like(parameters)
        first, second = ADAM_BETAS
        self._steps += 1
        self._mean.lerp_(gradient, 1 - first)
        self._square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        correction = (1 - second**self._steps) ** 0.5
        denominator = self._square.sqrt().div_(correction).add_(ADAM_EPSILON)
        parameters.addcdiv_(self._mean, denominator, value=-self._rate / (1 - first**self._steps))


def make_optimizer(training: TrainingSection) -> Optimizer:
    """Make a fresh optimizer; none carries anything from one round into the next."""
    if training.optimizer == "adam":
        return Adam(training.learning_rate, training.weight_decay)
    return Sgd(training.learning_rate, training.momentum, training.weight_decay)
