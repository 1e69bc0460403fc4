import tracemalloc
from collections.abc import Sequence
from fractions import Fraction
from math import isqrt
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from swarm.blobs import BlobStore
from swarm.errors import BlobMissing, MergeError
from swarm.folder_store import FolderStore
from swarm.manifest import CHUNK_ELEMENTS, BlobKind, Layout, Manifest, TensorShape
from swarm.memory_store import MemoryStore
from swarm.merge import (
    MAX_SITES,
    Exclusion,
    InputCheck,
    MergeRule,
    Objection,
    check_input,
    check_manifest,
    max_weight_cap,
    merge_updates,
    merged_chunk,
)
from swarm.weights import cut, read_vector, write_vector

Ints = NDArray[np.int32]


def _layout(elements: int) -> Layout:
    return (TensorShape("w", (elements,)),)


def _rule(elements: int, chunk: int = 4, **changes: Any) -> MergeRule:
    values: dict[str, Any] = {
        "dtype": "int32",
        "scale_bits": 8,
        "bound": 2**31 - 1,
        "weight_cap": max_weight_cap("int32"),
    }
    return MergeRule(_layout(elements), chunk_elements=chunk, **(values | changes))


def _update(store: BlobStore, values: NDArray[np.signedinteger], rule: MergeRule) -> bytes:
    chunks = [chunk.tobytes() for chunk in cut(values, rule.chunk_elements)]
    return store.create(
        BlobKind.UPDATE,
        rule.dtype,
        rule.layout,
        chunks,
        scale_bits=rule.scale_bits,
        chunk_elements=rule.chunk_elements,
    ).blob


def _base(store: BlobStore, values: NDArray[np.float32], rule: MergeRule) -> bytes:
    return write_vector(store, values, rule.layout, chunk_elements=rule.chunk_elements).blob


def _merged(store: BlobStore, manifest: Manifest) -> NDArray[np.float32]:
    return read_vector(store, manifest.blob)[0]


def _reference(base: NDArray[np.float32], updates: Sequence[tuple[Ints, int]], bits: int) -> list[np.float32]:
    """The rule in exact arithmetic, rounded where the rule rounds."""
    total = sum(weight for _, weight in updates)
    out = []
    for index, value in enumerate(base):
        exact = sum(int(update[index]) * weight for update, weight in updates)
        mean = float(Fraction(float(exact)) / (total << bits))
        out.append(np.float32(float(value) + mean))
    return out


int32s = st.integers(-(2**31), 2**31 - 1)
floats = st.floats(-(2.0**60), 2.0**60, width=32)
weights = st.integers(1, 1000) | st.integers(1, max_weight_cap("int32"))


@st.composite
def merges(draw: st.DrawFn) -> tuple[NDArray[np.float32], list[tuple[Ints, int]], int]:
    size = draw(st.integers(1, 20))
    update = st.tuples(arrays(np.int32, size, elements=int32s), weights)
    updates = draw(st.lists(update, min_size=1, max_size=5))
    return draw(arrays(np.float32, size, elements=floats)), updates, draw(st.integers(0, 30))


@settings(deadline=None)
@given(merges())
def test_equals_exact_arithmetic(case: tuple[NDArray[np.float32], list[tuple[Ints, int]], int]) -> None:
    base, updates, bits = case
    store, rule = MemoryStore(), _rule(base.size, scale_bits=bits)
    inputs = [(_update(store, values, rule), weight) for values, weight in updates]
    merged = merge_updates(store, _base(store, base, rule), inputs, rule)
    assert _merged(store, merged).tolist() == [float(value) for value in _reference(base, updates, bits)]


@settings(deadline=None)
@given(merges(), st.randoms(use_true_random=False), st.integers(1, 4))
def test_order_and_threads_do_not_matter(
    case: tuple[NDArray[np.float32], list[tuple[Ints, int]], int], random: Random, threads: int
) -> None:
    base, updates, bits = case
    store, rule = MemoryStore(), _rule(base.size, scale_bits=bits)
    inputs = [(_update(store, values, rule), weight) for values, weight in updates]
    shuffled = list(inputs)
    random.shuffle(shuffled)
    first = _base(store, base, rule)
    assert merge_updates(store, first, inputs, rule) == merge_updates(store, first, shuffled, rule, threads=threads)


@settings(deadline=None)
@given(merges(), st.integers(1, 20))
def test_how_the_vector_is_cut_does_not_matter(
    case: tuple[NDArray[np.float32], list[tuple[Ints, int]], int], chunk: int
) -> None:
    base, updates, bits = case
    vectors = []
    for size in (chunk, CHUNK_ELEMENTS):
        store, rule = MemoryStore(), _rule(base.size, size, scale_bits=bits)
        inputs = [(_update(store, values, rule), weight) for values, weight in updates]
        vectors.append(_merged(store, merge_updates(store, _base(store, base, rule), inputs, rule)).tobytes())
    assert vectors[0] == vectors[1]


def test_the_largest_sum_that_a_rule_allows_does_not_overflow() -> None:
    store = MemoryStore()
    rule = _rule(2, scale_bits=0)
    low, high = -(2**31), 2**31 - 1
    blob = _update(store, np.array([low, high], np.int32), rule)
    base = _base(store, np.zeros(2, np.float32), rule)
    merged = merge_updates(store, base, [(blob, rule.weight_cap)] * MAX_SITES, rule)
    assert _merged(store, merged).tolist() == [np.float32(low), np.float32(high)]
    assert MAX_SITES * rule.weight_cap * -low <= 2**63 - 1


def test_int16_updates() -> None:
    store, rule = MemoryStore(), _rule(3, dtype="int16", bound=2**15 - 1)
    blobs = [_update(store, np.array(values, np.int16), rule) for values in ([256, -256, 1], [0, -512, 1])]
    merged = merge_updates(store, _base(store, np.ones(3, np.float32), rule), [(blobs[0], 1), (blobs[1], 3)], rule)
    assert _merged(store, merged).tolist() == [1.25, 1 - 1.75, 1 + 1 / 256]


def test_a_spot_check_recomputes_any_chunk() -> None:
    store, rule = MemoryStore(), _rule(10)
    random = np.random.default_rng(0)
    inputs = [(_update(store, random.integers(-999, 999, 10).astype(np.int32), rule), w) for w in (3, 5)]
    base = _base(store, random.normal(size=10).astype(np.float32), rule)
    merged = merge_updates(store, base, inputs, rule)
    for index in (2, 0, 1):
        assert merged_chunk(store, base, inputs, rule, index) == store.read_chunk(merged.blob, index)


def test_memory_does_not_grow_with_sites_or_model(tmp_path: Path) -> None:
    chunk, sites = 1 << 16, 8
    store, rule = FolderStore(tmp_path, durable=False), _rule(4 * chunk, chunk)
    values = np.arange(4 * chunk, dtype=np.int32)
    inputs = [(_update(store, values + site, rule), site + 1) for site in range(sites)]
    base = _base(store, np.zeros(4 * chunk, np.float32), rule)
    del values
    tracemalloc.start()
    try:
        merge_updates(store, base, inputs, rule)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 * chunk * 4, f"{peak / chunk / 4:.1f} chunks"


# -- what is not merged


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


RULE = _rule(10, bound=100)


def test_a_valid_update_has_no_exclusion(store: MemoryStore) -> None:
    values = np.zeros(10, np.int32)
    values[[1, 9]] = 60, -80
    assert check_input(store, _update(store, values, RULE), RULE) is None


@settings(deadline=None)
@given(arrays(np.int32, 10, elements=int32s | st.integers(-9, 9)), st.integers(0, 2))
def test_the_bound_is_exact(values: Ints, slack: int) -> None:
    store = MemoryStore()
    exact = sum(int(value) ** 2 for value in values)
    bound = min(max(isqrt(exact) + slack - 1, 1), 2**31 - 1)
    verdict = check_input(store, _update(store, values, RULE), _rule(10, bound=bound))
    assert verdict is (Exclusion.OVER_CLIP if exact > bound**2 else None)


@pytest.mark.parametrize(
    "changes",
    [{"dtype": "int16", "bound": 100}, {"scale_bits": 9}, {"chunk": 5}, {"elements": 9}],
)
def test_an_update_of_another_shape_is_known_by_its_manifest(store: MemoryStore, changes: dict[str, Any]) -> None:
    other = _rule(**({"elements": 10} | changes))
    blob = _update(store, np.zeros(changes.get("elements", 10), other.dtype), other)
    assert check_manifest(store.manifest(blob), RULE) is Exclusion.WRONG_SHAPE
    assert check_input(store, blob, RULE) is Exclusion.WRONG_SHAPE


def test_a_model_is_no_update(store: MemoryStore) -> None:
    assert check_input(store, _base(store, np.zeros(10, np.float32), RULE), RULE) is Exclusion.WRONG_SHAPE


def test_another_tensor_name_is_another_shape(store: MemoryStore) -> None:
    blob = store.create(BlobKind.UPDATE, "int32", (TensorShape("v", (10,)),), [bytes(40)], scale_bits=8).blob
    assert check_input(store, blob, RULE) is Exclusion.WRONG_SHAPE


def test_an_update_that_is_not_here_is_missing(store: MemoryStore) -> None:
    with pytest.raises(BlobMissing):
        check_input(store, bytes(32), RULE)


def test_an_input_is_checked_while_it_arrives(store: MemoryStore) -> None:
    values = np.array([100, 0, 0, 0, 0, 0, 0, 0, 0, 1], np.int32)
    manifest = store.manifest(_update(store, values, RULE))
    check = InputCheck(manifest, RULE)
    chunks = [store.read_chunk(manifest.blob, index) for index in range(3)]
    check.add(0, chunks[0])
    check.add(0, chunks[0])
    assert (check.missing(), check.verdict()) == ([1, 2], None)
    check.add(2, chunks[2])
    assert (check.missing(), check.verdict()) == ([1], Exclusion.OVER_CLIP)


@pytest.mark.parametrize(
    "inputs", [[], [(1, 0)], [(1, -1)], [(1, 101)], [(1, 1)] * (MAX_SITES + 1), [(0, 1)], [(2, 1)]]
)
def test_refuses_inputs_outside_the_rule(store: MemoryStore, inputs: list[tuple[int, int]]) -> None:
    rule = _rule(10, weight_cap=100)
    base = _base(store, np.zeros(10, np.float32), rule)
    blobs = [base, _update(store, np.zeros(10, np.int32), rule), _update(store, np.zeros(9, np.int32), _rule(9))]
    with pytest.raises(MergeError):
        merge_updates(store, base, [(blobs[which], weight) for which, weight in inputs], rule)


def test_refuses_a_base_outside_the_rule(store: MemoryStore) -> None:
    update = _update(store, np.zeros(10, np.int32), RULE)
    small = _rule(9)
    for base in (update, _base(store, np.zeros(9, np.float32), small)):
        with pytest.raises(MergeError, match="base "):
            merge_updates(store, base, [(update, 1)], RULE)


def test_an_output_is_finite_or_not_made(store: MemoryStore) -> None:
    rule = _rule(1, scale_bits=0)
    largest = float(np.finfo(np.float32).max)
    update = _update(store, np.array([2**31 - 1], np.int32), rule)
    base = store.create(
        BlobKind.MODEL, "float32", rule.layout, [np.array([np.inf], "<f4").tobytes()], chunk_elements=4
    ).blob
    with pytest.raises(MergeError, match="isn't finite"):
        merge_updates(store, base, [(update, 1)], rule)
    assert len(store.blobs()) == 2
    merged = merge_updates(store, _base(store, np.array([largest], np.float32), rule), [(update, 1)], rule)
    assert _merged(store, merged).tolist() == [largest]


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "int64"},
        {"dtype": "float32"},
        {"bound": 0},
        {"bound": 2**31},
        {"weight_cap": 0},
        {"weight_cap": 2**24},
    ],
)
def test_a_rule_that_could_overflow_is_not_made(changes: dict[str, Any]) -> None:
    with pytest.raises(MergeError):
        _rule(1, **changes)


def test_a_process_that_flushes_subnormals_does_not_merge(store: MemoryStore) -> None:
    torch = pytest.importorskip("torch")
    base = _base(store, np.zeros(10, np.float32), RULE)
    update = _update(store, np.zeros(10, np.int32), RULE)
    caught: list[str] = []

    def merge() -> None:
        if not torch.set_flush_denormal(True):
            return caught.append("this processor can't flush subnormal numbers")
        try:
            merge_updates(store, base, [(update, 1)], RULE)
        except MergeError as error:
            caught.append(str(error))

    thread = Thread(target=merge)  # the processor's mode is the thread's own
    thread.start()
    thread.join()
    assert "subnormal numbers" in caught[0]


def test_the_bytes_on_the_ledger_are_fixed() -> None:
    assert {reason.name: int(reason) for reason in Exclusion} == {
        "UNREACHABLE": 1,
        "MALFORMED": 2,
        "WRONG_SHAPE": 3,
        "OVER_CLIP": 4,
        "NOT_FINITE": 5,
    }
    assert {reason.name: int(reason) for reason in Objection} == {
        "WRONG_OUTPUT": 1,
        "OMITTED_INPUT": 2,
        "INVALID_INPUT_MERGED": 3,
        "UNVERIFIABLE": 4,
    }


def test_golden_merge(store: MemoryStore) -> None:
    rule = _rule(10)
    inputs = [(_update(store, np.arange(10, dtype=np.int32) * 1001 * site, rule), 7 * site) for site in (1, 2, 3)]
    base = _base(store, np.array([value / 8 for value in range(10)], np.float32), rule)
    assert (
        merge_updates(store, base, inputs, rule).blob.hex()
        == "de5ec33537fbb319ac383590e015bbfb79f7f7a375b4de273a11c218f518302c"
    )
