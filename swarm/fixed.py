"""Fixed-point updates: the L2 clip, the quantisation, and the exact norm that every verifier recomputes.

A number x travels as the integer q = round(x * 2**scale_bits), half to even. An update obeys the clip bound where
sum(q**2) <= bound**2, in integers: no two machines can disagree about it, and there is no tolerance to exploit.
Everything here is element-wise IEEE arithmetic or exact, so that the same floats give the same integers anywhere.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import frexp, isfinite, ldexp, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm.errors import UpdateError

MICRO = 10**6
DTYPE_LIMITS = {"int16": 2**15 - 1, "int32": 2**31 - 1}
_BLOCK = 1 << 15  # elements that stay in a core's cache
_ATTEMPTS = 8

Integers = NDArray[np.signedinteger[Any]]
Doubles = NDArray[np.float64]
Passes = Callable[[], Iterable[Doubles]]


def clip_bound(clip_micro: int, scale_bits: int) -> int:
    """Give the largest norm of a quantised update, for a clip norm in millionths (as the ledger states it).

    It is rounded down, so that an update within it is within the stated clip norm.
    """
    return (clip_micro << scale_bits) // MICRO


def squared_norm(values: Integers) -> int:
    """Sum the squares of int16 or int32 values, exactly."""
    total = 0
    scratch = np.empty((2, min(_BLOCK, values.size)), np.float64)
    for start in range(0, values.size, _BLOCK):
        block = values[start : start + _BLOCK]
        total += _squared_norm_of_block(block, scratch[:, : block.size])
    return total


def _squared_norm_of_block(block: Integers, scratch: Doubles) -> int:
    """Sum the squares of at most 2**15 values by float64 dot products whose partial sums all stay below 2**53."""
    high, low = scratch
    if max(int(block.max()), -int(block.min())) < 1 << 19:  # 2 * 19 + 15 <= 53
        high[:] = block
        return int(np.dot(high, high))
    np.right_shift(block, 16, out=high, casting="unsafe")
    np.bitwise_and(block, 0xFFFF, out=low, casting="unsafe")  # 2 * 16 + 15 < 53
    return (int(np.dot(high, high)) << 32) + (int(np.dot(high, low)) << 17) + int(np.dot(low, low))


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """How the chunks of one update are scaled and rounded so that the whole obeys its bound.

    `norm` is the update's L2 norm before the clip (for people: it has no part in the arithmetic).
    """

    dtype: str
    factor: float
    toward_zero: bool = False
    clipped: bool = False
    norm: float = 0.0

    def apply(self, values: Doubles) -> Integers:
        """Quantise one chunk of the vector that the plan was made for."""
        scaled = values * self.factor
        (np.trunc if self.toward_zero else np.rint)(scaled, out=scaled)
        return scaled.astype(np.dtype(self.dtype).newbyteorder("<"))


def plan_clip(passes: Passes, *, bound: int, scale_bits: int, dtype: str = "int32") -> ClipPlan:
    """Choose the factor by which a vector obeys `sum(q**2) <= bound**2` once quantised.

    `passes()` gives the vector's float64 chunks, and is called a few times. Raises UpdateError for a number that
    isn't finite, or a bound that doesn't fit the dtype.
    """
    if not 1 <= bound <= DTYPE_LIMITS.get(dtype, 0):
        raise UpdateError(f"the clip bound is {bound} at this scale, which doesn't fit {dtype}")
    largest = _largest(passes)
    scale = ldexp(1.0, scale_bits)
    if largest * scale <= bound:
        first = ClipPlan(dtype, scale)
    else:  # over the bound already, and maybe over the dtype: measure with the largest element just below 2**30
        first = ClipPlan("int32", ldexp(1.0, 30 - frexp(largest)[1]))
    total = _quantised_norm(passes, first)
    norm = sqrt(total) / first.factor
    if first.factor == scale and total <= bound * bound:
        return replace(first, norm=norm)
    return _shrink(passes, ClipPlan(dtype, bound / norm, clipped=True, norm=norm), bound, bound / largest)


def _shrink(passes: Passes, plan: ClipPlan, bound: int, ceiling: float) -> ClipPlan:
    """Lower the plan's factor until the quantised vector obeys the bound.

    Rounding to nearest may push the norm over again where most elements are fractions of one step; rounding toward
    zero can't, so that the search ends. Below `ceiling` no element leaves the dtype.
    """
    start = plan.factor
    for toward_zero in (False, True):
        plan = replace(plan, factor=min(start, ceiling), toward_zero=toward_zero)
        for _ in range(_ATTEMPTS):
            total = _quantised_norm(passes, plan)
            if total <= bound * bound:
                return plan
            plan = replace(plan, factor=plan.factor * (bound / sqrt(total)) * (1 - 2.0**-40))
    raise UpdateError("the update can't be clipped to its bound")


def _largest(passes: Passes) -> float:
    largest = 0.0
    for values in passes():
        highest, lowest = float(values.max()), float(values.min())
        if not (isfinite(highest) and isfinite(lowest)):
            raise UpdateError("the update holds a number that isn't finite: the training has diverged")
        largest = max(largest, highest, -lowest)
    return largest


def _quantised_norm(passes: Passes, plan: ClipPlan) -> int:
    return sum(squared_norm(plan.apply(values)) for values in passes())
