from collections.abc import Iterator
from math import isclose, sqrt

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from swarm.errors import UpdateError
from swarm.fixed import BLOCK, ClipPlan, Doubles, Passes, clip_bound, plan_clip, squared_norm


def _passes(values: Doubles) -> Passes:
    def blocks() -> Iterator[Doubles]:
        for start in range(0, values.size, BLOCK):
            yield values[start : start + BLOCK].copy()

    return blocks


def _quantised(plan: ClipPlan, values: Doubles) -> list[int]:
    return [int(value) for value in plan.quantise(values.copy())]


def _exact(values: NDArray[np.signedinteger]) -> int:
    return sum(int(value) ** 2 for value in values)


@settings(deadline=None)
@given(arrays(np.int32, st.integers(1, 200)))
@example(np.full(BLOCK + 1, -(2**31), np.int32))
@example(np.full(BLOCK, 2**31 - 1, np.int32))
@example(np.full(BLOCK, 2**19 - 1, np.int32))
@example(np.full(BLOCK, -(2**19), np.int32))
@example(np.full(BLOCK, 0xFFFF, np.int32))
@example(np.full(BLOCK, -1, np.int32))
@example(np.zeros(0, np.int32))
def test_the_norm_is_exact(values: NDArray[np.int32]) -> None:
    assert squared_norm(values) == _exact(values)


@given(arrays(np.int16, st.integers(1, 200)))
def test_the_norm_of_int16_is_exact(values: NDArray[np.int16]) -> None:
    assert squared_norm(values) == _exact(values)


def test_the_norm_of_many_blocks_is_exact() -> None:
    values = np.random.default_rng(0).integers(-(2**31), 2**31, 5 * BLOCK + 7).astype(np.int32)
    assert squared_norm(values) == _exact(values)


@pytest.mark.parametrize(
    ("micro", "bits", "bound"),
    [(1_000_000, 24, 1 << 24), (1_500_000, 1, 3), (1, 0, 0), (999_999, 0, 0), (333_333, 4, 5)],
)
def test_the_bound_is_rounded_down(micro: int, bits: int, bound: int) -> None:
    assert clip_bound(micro, bits) == bound


def test_rounds_half_to_even() -> None:
    values = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 0.25])
    plan = plan_clip(_passes(values / 4), bound=100, scale_bits=2)
    assert _quantised(plan, values / 4) == [0, 2, 2, 0, -2, 0]


doubles = st.floats(-(2.0**100), 2.0**100) | st.floats(-1, 1) | st.just(0.0)


@settings(deadline=None)
@given(
    arrays(np.float64, st.integers(1, 300), elements=doubles),
    st.integers(1, 2**31 - 1),
    st.integers(0, 30),
)
@example(np.array([1.0]), 2**31 - 1, 30)
@example(np.array([1e30]), 2**31 - 1, 30)
@example(np.full(300, 0.6), 1, 0)
@example(np.full(300, 1e-300), 1, 30)
@example(np.array([3.4e38, 1e-38]), 1000, 10)
def test_a_quantised_update_obeys_its_bound_exactly(values: Doubles, bound: int, bits: int) -> None:
    plan = plan_clip(_passes(values), bound=bound, scale_bits=bits)
    assert sum(value**2 for value in _quantised(plan, values)) <= bound**2


@settings(deadline=None)
@given(arrays(np.float64, st.integers(1, 300), elements=st.floats(-1, 1)), st.integers(-300, 300))
def test_int16_obeys_too(values: Doubles, power: int) -> None:
    plan = plan_clip(_passes(values * 2.0**power), bound=2**15 - 1, scale_bits=10, dtype="int16")
    quantised = _quantised(plan, values * 2.0**power)
    assert sum(value**2 for value in quantised) <= (2**15 - 1) ** 2


def test_an_update_within_the_bound_is_not_touched() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    plan = plan_clip(_passes(values), bound=clip_bound(100_000_000, 20), scale_bits=20)
    assert not plan.clipped
    assert _quantised(plan, values) == [round(value * 2**20) for value in values.tolist()]
    assert isclose(plan.norm, float(np.linalg.norm(values)), rel_tol=1e-5)


@pytest.mark.parametrize("size", [1.0, 1e-3, 1e6, 1e30])
def test_a_clipped_update_keeps_its_direction_and_uses_its_bound(size: float) -> None:
    values = np.random.default_rng(0).normal(size=40_000) * size
    bound = clip_bound(500_000, 20)
    plan = plan_clip(_passes(values), bound=bound, scale_bits=20) if size > 1e-3 else None
    if plan is None:
        assert not plan_clip(_passes(values), bound=bound, scale_bits=20).clipped
        return
    quantised = np.array(_quantised(plan, values), np.float64)
    assert plan.clipped
    assert isclose(plan.norm, float(np.linalg.norm(values)), rel_tol=1e-5)
    assert 0.999 < sqrt(float(quantised @ quantised)) / bound <= 1
    assert quantised @ values / np.linalg.norm(quantised) / np.linalg.norm(values) > 0.9999


def test_elements_below_one_step_do_not_break_the_clip() -> None:
    values = np.full(100_000, 0.9)
    plan = plan_clip(_passes(values), bound=100, scale_bits=0)
    assert sum(value**2 for value in _quantised(plan, values)) <= 100**2


@settings(deadline=None)
@given(
    st.floats(1e5, 1e7),
    arrays(np.float64, st.integers(1, 300), elements=st.floats(-1e-3, 1e-3) | st.floats(-100, 100)),
    st.integers(2**20, 2**31 - 1),
)
@example(294549.75982772093, np.array([66.57734460415732, *[0.0005775730542541956] * 18]), 1526839438)
def test_one_large_element_among_small_ones_does_not_break_the_clip(large: float, rest: Doubles, bound: int) -> None:
    """The large one alone is nearly the bound: it must lose whole steps to make room for the others."""
    values = np.array([large, *rest])
    plan = plan_clip(_passes(values), bound=bound, scale_bits=16)
    quantised = _quantised(plan, values)
    assert sum(value**2 for value in quantised) <= bound**2
    if plan.clipped:
        assert sqrt(sum(value**2 for value in quantised)) >= bound * (1 - 2.0**-10)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_refuses_what_is_not_finite(wrong: float) -> None:
    values = np.zeros(BLOCK + 5)
    values[-1] = wrong
    with pytest.raises(UpdateError, match="isn't finite"):
        plan_clip(_passes(values), bound=10, scale_bits=0)


@pytest.mark.parametrize(("bound", "dtype"), [(0, "int32"), (2**31, "int32"), (2**15, "int16"), (1, "int64")])
def test_refuses_a_bound_that_does_not_fit(bound: int, dtype: str) -> None:
    with pytest.raises(UpdateError, match="doesn't fit"):
        plan_clip(_passes(np.zeros(1)), bound=bound, scale_bits=0, dtype=dtype)
