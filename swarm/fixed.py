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
BLOCK = 1 << 14  # elements whose float64 scratch stays in a core's cache
_DOT = 1 << 13  # elements up to which BLAS computes a dot product in the calling thread
_SMALL = 1 << 19  # below it a square summed over a block stays below 2**53: 2 * 19 + 14
_ATTEMPTS = 8

Doubles = NDArray[np.float64]
Passes = Callable[[], Iterable[Doubles]]


def clip_bound(clip_micro: int, scale_bits: int) -> int:
    """Give the largest norm of a quantised update, for a clip norm in millionths (as the ledger states it).

    It is rounded down, so that an update within it is within the stated clip norm.
    """
    return (clip_micro << scale_bits) // MICRO


def squared_norm(values: NDArray[np.signedinteger[Any]]) -> int:
    """Sum the squares of int16 or int32 values, exactly."""
    total = 0
    scratch = np.empty(min(BLOCK, values.size), np.float64)
    for start in range(0, values.size, BLOCK):
        part = values[start : start + BLOCK]
        block = scratch[: part.size]
        block[:] = part
        total += squared_norm_of_block(block)
    return total


def squared_norm_of_block(block: Doubles) -> int:
    """Sum the squares of at most `BLOCK` whole numbers of at most 2**31, exactly.

    The float64 products and their partial sums are whole numbers below 2**53, in whatever order they are added:
    larger values are split in q = h * 2**16 + l first.
    """
    if max(float(block.max()), -float(block.min())) < _SMALL:
        return _dot(block, block)
    high = np.floor(block * 2.0**-16)
    low = block - high * 2.0**16
    return (_dot(high, high) << 32) + (_dot(high, low) << 17) + _dot(low, low)


def _dot(left: Doubles, right: Doubles) -> int:
    return sum(
        int(np.dot(left[start : start + _DOT], right[start : start + _DOT])) for start in range(0, left.size, _DOT)
    )


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """How the blocks of one update are scaled and rounded so that the whole obeys its bound.

    `norm` is the update's L2 norm before the clip (for people: it has no part in the arithmetic).
    """

    factor: float
    toward_zero: bool = False
    clipped: bool = False
    norm: float = 0.0

    def quantise(self, block: Doubles) -> Doubles:
        """Turn a block of the vector that the plan was made for into whole numbers, in place."""
        np.multiply(block, self.factor, out=block)
        return (np.trunc if self.toward_zero else np.rint)(block, out=block)


def plan_clip(passes: Passes, *, bound: int, scale_bits: int, dtype: str = "int32") -> ClipPlan:
    """Choose the factor by which a vector obeys `sum(q**2) <= bound**2` once quantised.

    `passes()` gives the vector in blocks of at most `BLOCK` elements, which are overwritten; it is called a few
    times. Raises UpdateError for a number that isn't finite, or a bound that doesn't fit the dtype.
    """
    if not 1 <= bound <= DTYPE_LIMITS.get(dtype, 0):
        raise UpdateError(f"the clip bound is {bound} at this scale, which doesn't fit {dtype}")
    largest = _largest(passes)
    scale = ldexp(1.0, scale_bits)
    within = largest * scale <= bound
    # over the bound already, and maybe over 32 bits: measure with the largest element just below 2**30
    measured = ClipPlan(scale if within else ldexp(1.0, 30 - frexp(largest)[1]))
    total = _quantised_norm(passes, measured)
    norm = sqrt(total) / measured.factor
    if within and total <= bound * bound:
        return replace(measured, norm=norm)
    return _shrink(passes, ClipPlan(bound / norm, clipped=True, norm=norm), bound, ceiling=bound / largest)


def _shrink(passes: Passes, plan: ClipPlan, bound: int, ceiling: float) -> ClipPlan:
    """Lower the plan's factor until the quantised vector obeys the bound.

    Rounding to nearest may push the norm over again where most elements are fractions of one step; rounding toward
    zero can't, once the vector itself is within the bound. The plan's norm is known to 2**-31 for each element, and
    the margins grow to 2**-12, so that the search ends. Below `ceiling` no element leaves the dtype.
    """
    start = min(plan.factor, ceiling)
    for toward_zero in (False, True):
        plan = replace(plan, factor=start, toward_zero=toward_zero)
        for attempt in range(_ATTEMPTS):
            total = _quantised_norm(passes, plan)
            if total <= bound * bound:
                return plan
            margin = 1 - 2.0 ** (4 * attempt - 40)
            plan = replace(plan, factor=plan.factor * (bound / sqrt(total)) * margin)
    raise UpdateError("the update can't be clipped to its bound")


def _largest(passes: Passes) -> float:
    largest = 0.0
    for block in passes():
        highest, lowest = float(block.max()), float(block.min())
        if not (isfinite(highest) and isfinite(lowest)):
            raise UpdateError("the update holds a number that isn't finite: the training has diverged")
        largest = max(largest, highest, -lowest)
    return largest


def _quantised_norm(passes: Passes, plan: ClipPlan) -> int:
    return sum(squared_norm_of_block(plan.quantise(block)) for block in passes())
