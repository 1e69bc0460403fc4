"""The first weights of a model, drawn from a study's seed: the same bytes on every machine, and no torch needed."""

import hashlib
from math import prod, sqrt

import numpy as np
from numpy.typing import NDArray

from swarm.manifest import Layout, TensorShape

_ONES = ("weight", "running_var")


def draw_uniform(seed: int, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Draw from -1 to 1, from raw counters keyed by name: numpy may change its distributions, but not Philox."""
    key = int.from_bytes(hashlib.sha256(f"initial/{seed}/{name}".encode()).digest()[:16], "big")
    raw = np.random.Philox(key=key).random_raw(prod(shape))
    return ((raw >> np.uint64(40)) * 2.0**-23 - 1).astype(np.float32).reshape(shape)


def draw_layout(layout: Layout, seed: int) -> dict[str, NDArray[np.float32]]:
    """Draw the first weights of a model that is known by its layout alone, as PyTorch's own layers would.

    A tensor of two or more dimensions is uniform within 1/sqrt(inputs of the unit), the first dimension being the
    units. One of a single dimension is 1 where it is called `weight` or `running_var`, so that a normalisation starts
    as the identity, and otherwise 0, as is a scalar.
    """
    return {tensor.name: _draw(tensor, seed) for tensor in layout}


def _draw(tensor: TensorShape, seed: int) -> NDArray[np.float32]:
    if len(tensor.shape) > 1:
        bound = np.float32(1 / sqrt(prod(tensor.shape[1:])))
        return draw_uniform(seed, tensor.name, tensor.shape) * bound
    ones = len(tensor.shape) == 1 and tensor.name.rpartition(".")[2] in _ONES
    return np.full(tensor.shape, 1.0 if ones else 0.0, np.float32)
