from collections.abc import Sequence
from fractions import Fraction
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from swarm.errors import BlobInvalid, BlobMissing, DataError, MergeError
from swarm.manifest import BlobKind, Layout
from swarm.memory_store import MemoryStore
from swarm.merge import MAX_SITES, Exclusion
from swarm.moments import (
    MOMENTS_SCALE_BITS,
    Moments,
    check_moments,
    compute_moments,
    merge_moments,
    moments_layout,
    read_moments,
    standardisation,
    write_moments,
)

Table = NDArray[np.float64]
values = st.floats(-(2.0**40), 2.0**40) | st.floats(-1, 1) | st.sampled_from([0.0, 2.0**40, -(2.0**40)])
tables = st.tuples(st.integers(1, 20), st.integers(1, 3)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=values)
)
integers = st.integers(-(2**191), 2**191 - 1)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def _merge(store: MemoryStore, tables: Sequence[Table]) -> bytes:
    return merge_moments(store, [write_moments(store, compute_moments(table)).blob for table in tables]).blob


def _raw(store: MemoryStore, vector: Sequence[int], layout: Layout, **changes: int) -> bytes:
    data = np.array(vector, "<i8").tobytes()
    bits = changes.get("scale_bits", MOMENTS_SCALE_BITS)
    return store.create(BlobKind.MOMENTS, "int64", layout, [data], scale_bits=bits).blob


@settings(deadline=None)
@given(st.integers(1, 2**40), st.lists(st.tuples(integers, integers), min_size=1, max_size=4))
def test_any_sums_come_back(count: int, sums: list[tuple[int, int]]) -> None:
    store = MemoryStore()
    moments = Moments(count, tuple(first for first, _ in sums), tuple(second for _, second in sums))
    assert read_moments(store, write_moments(store, moments).blob) == moments


@settings(deadline=None)
@given(tables)
def test_sums_are_those_of_exact_arithmetic(table: Table) -> None:
    moments = compute_moments(table)
    for column, total, squares in zip(table.T.tolist(), moments.sums, moments.squares, strict=True):
        assert total == round(Fraction(float(sum(map(Fraction, column)))) * 2**MOMENTS_SCALE_BITS)
        exact = sum(Fraction(value) ** 2 for value in column) * 2**MOMENTS_SCALE_BITS
        assert abs(squares - exact) <= exact / 2**50 + 1


@settings(deadline=None)
@given(st.lists(arrays(np.float64, (3, 2), elements=values), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_merging_adds_in_any_order(tables: list[Table], random: Random) -> None:
    store = MemoryStore()
    shuffled = list(tables)
    random.shuffle(shuffled)
    blob = _merge(store, tables)
    assert blob == _merge(store, shuffled)
    parts = [compute_moments(table) for table in tables]
    assert read_moments(store, blob) == Moments(
        sum(part.count for part in parts),
        tuple(map(sum, zip(*(part.sums for part in parts), strict=True))),
        tuple(map(sum, zip(*(part.squares for part in parts), strict=True))),
    )


@settings(deadline=None)
@given(tables, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(table: Table, random: Random) -> None:
    rows = table.tolist()
    random.shuffle(rows)
    assert compute_moments(np.array(rows)) == compute_moments(table)


def test_256_sites_of_the_largest_sums_do_not_overflow(store: MemoryStore) -> None:
    largest = Moments(2**40, (-(2**191),), (2**191 - 1,))
    blob = write_moments(store, largest).blob
    assert check_moments(store, blob, 1) is None
    merged = read_moments(store, merge_moments(store, [blob] * MAX_SITES).blob)
    assert merged == Moments(MAX_SITES * 2**40, (-MAX_SITES * 2**191,), (MAX_SITES * (2**191 - 1),))


def test_standardisation_is_that_of_the_pooled_rows(store: MemoryStore) -> None:
    random = np.random.default_rng(0)
    tables = [random.normal(size=(rows, 4)) * [1, 1e-4, 1e6, 30] + [0, 1, 1e9, -5] for rows in (7, 100, 33)]
    pooled = np.concatenate(tables)
    shared = standardisation(store, _merge(store, tables))
    assert shared.count == 140
    np.testing.assert_allclose(shared.mean, pooled.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(shared.scale, pooled.std(axis=0), rtol=1e-6)
    scaled = shared.apply(pooled)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=0), 1, rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e-9, 123456.789, 1e12])
def test_a_constant_column_has_the_scale_1(store: MemoryStore, value: float) -> None:
    tables = [np.full((rows, 1), value) for rows in (3, 10, 17, 1000)]
    shared = standardisation(store, _merge(store, tables))
    assert shared.scale.tolist() == [1.0]
    np.testing.assert_allclose(shared.mean, [value], rtol=1e-12, atol=1e-17)


@settings(deadline=None)
@given(tables)
def test_a_scale_is_always_positive_and_finite(table: Table) -> None:
    store = MemoryStore()
    shared = standardisation(store, _merge(store, [table]))
    assert (shared.scale > 0).all()
    assert np.isfinite(shared.scale).all()
    assert np.isfinite(shared.mean).all()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 2.0**40 * 1.001, -1e300])
def test_a_wrong_value_is_refused_by_its_column(wrong: float) -> None:
    table = np.zeros((3, 4))
    table[1, 2] = wrong
    with pytest.raises(DataError, match="column 2 "):
        compute_moments(table)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (3,), (1, 2, 3)])
def test_a_table_has_rows_and_columns(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="rows and columns"):
        compute_moments(np.zeros(shape))


def test_float32_tables() -> None:
    assert compute_moments(np.array([[0.5], [1.5]], np.float32)) == compute_moments(np.array([[0.5], [1.5]]))


# -- what is not merged

ONE = [3, *[1, 0, 0, 0, 0, 0], *[5, 0, 0, 0, 0, 0]]


def _with(index: int, value: int) -> list[int]:
    return [*ONE[:index], value, *ONE[index + 1 :]]


@pytest.mark.parametrize(
    "vector",
    [
        _with(0, 0),
        _with(0, -1),
        _with(0, 2**40 + 1),
        _with(1, -1),
        _with(1, 2**32),
        _with(6, 2**31),
        _with(6, -(2**31) - 1),
        _with(12, -1),
    ],
)
def test_moments_beyond_their_bounds(store: MemoryStore, vector: list[int]) -> None:
    assert check_moments(store, _raw(store, vector, moments_layout(1)), 1) is Exclusion.OVER_CLIP


def test_moments_of_another_shape(store: MemoryStore) -> None:
    good = _raw(store, ONE, moments_layout(1))
    assert check_moments(store, good, 1) is None
    assert check_moments(store, good, 2) is Exclusion.WRONG_SHAPE
    assert check_moments(store, _raw(store, ONE, moments_layout(1), scale_bits=8), 1) is Exclusion.WRONG_SHAPE
    update = store.create(BlobKind.UPDATE, "int32", moments_layout(1), [bytes(13 * 4)]).blob
    assert check_moments(store, update, 1) is Exclusion.WRONG_SHAPE
    with pytest.raises(BlobInvalid, match="doesn't hold moments"):
        read_moments(store, update)
    with pytest.raises(MergeError, match="same columns"):
        merge_moments(store, [good, update])
    with pytest.raises(BlobMissing):
        check_moments(store, bytes(32), 1)


def test_a_merge_has_inputs(store: MemoryStore) -> None:
    with pytest.raises(MergeError):
        merge_moments(store, [])


def test_moments_without_rows_standardise_nothing(store: MemoryStore) -> None:
    with pytest.raises(BlobInvalid, match="no rows"):
        standardisation(store, _raw(store, _with(0, 0), moments_layout(1)))


def test_golden_blob(store: MemoryStore) -> None:
    table = np.array([[0.5, -1.25], [3.0, 1e6], [-2.0, 0.1]])
    manifest = write_moments(store, compute_moments(table))
    assert manifest.blob.hex() == "600fd261e9f04bdaaba4012ea8eafd497a8aaed16f2f8d71b927eee744e981b4"
    shared = standardisation(store, manifest.blob)
    assert [mean.hex() for mean in shared.mean.tolist()] == ["0x1.0000000000000p-1", "0x1.45853cccccccdp+18"]
    assert [scale.hex() for scale in shared.scale.tolist()] == ["0x1.0547666079ba7p+1", "0x1.cc5b32ada73b7p+18"]
