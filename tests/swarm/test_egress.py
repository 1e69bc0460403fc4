"""What leaves a site: these tests look at the bytes that came out."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from swarm.errors import DataError, UpdateError
from swarm.manifest import BlobKind, TensorShape
from swarm.memory_store import MemoryStore
from swarm.merge import MergeRule, check_input
from swarm.moments import Moments
from swarm.privacy.egress import PreparedUpdate, prepare_moments, prepare_update
from swarm.spec import PrivacySection

BOUND = PrivacySection()
Floats = NDArray[np.float32]


def _rule(elements: int, bound: int = 1 << 16, dtype: str = "int32", chunk: int = 8) -> MergeRule:
    return MergeRule((TensorShape("w", (elements,)),), dtype, 16, bound, 1000, chunk)


def _bytes(update: PreparedUpdate) -> NDArray[np.int32]:
    return np.frombuffer(b"".join(update.chunks()), np.dtype(update.rule.dtype).newbyteorder("<"))


def _prepare(trained: Floats, base: Floats, rule: MergeRule, privacy: PrivacySection = BOUND) -> PreparedUpdate:
    return prepare_update(trained, base, rule=rule, privacy=privacy, samples=100)


vectors = arrays(np.float32, 20, elements=st.floats(-1e6, 1e6, width=32) | st.floats(-(2.0**-10), 2.0**-10, width=32))


@settings(deadline=None)
@given(vectors, vectors, st.integers(1, 2**31 - 1))
def test_no_bytes_over_the_bound_leave(trained: Floats, base: Floats, bound: int) -> None:
    update = _prepare(trained, base, _rule(20, bound))
    assert sum(int(value) ** 2 for value in _bytes(update)) <= bound**2


@settings(deadline=None)
@given(vectors, vectors, st.sampled_from(["int32", "int16"]))
def test_what_leaves_is_an_update_that_every_verifier_accepts(trained: Floats, base: Floats, dtype: str) -> None:
    store, rule = MemoryStore(), _rule(20, 30_000, dtype)
    manifest = _prepare(trained, base, rule).write(store)
    assert (manifest.kind, manifest.dtype, manifest.scale_bits) == (BlobKind.UPDATE, dtype, 16)
    assert check_input(store, manifest.blob, rule) is None


def test_the_difference_leaves_and_not_the_model() -> None:
    base = np.arange(20, dtype=np.float32)
    trained = base + np.float32(0.25) * (np.arange(20) % 2).astype(np.float32)
    update = _prepare(trained, base, _rule(20, 1 << 20))
    assert _bytes(update).tolist() == [0, 1 << 14] * 10
    assert not update.clipped
    assert update.norm == pytest.approx(sqrt(10) / 4)
    assert update.epsilon_micro == 0


def test_a_clipped_update_says_so() -> None:
    update = _prepare(np.full(20, 3, np.float32), np.zeros(20, np.float32), _rule(20))
    assert update.clipped
    assert update.norm == pytest.approx(3 * sqrt(20))
    assert _bytes(update).tolist() == [round((1 << 16) / sqrt(20) - 0.5)] * 20


def test_the_same_training_gives_the_same_bytes_however_it_is_cut() -> None:
    random = np.random.default_rng(0)
    trained, base = random.normal(size=(2, 100_000)).astype(np.float32)
    cuts = [_bytes(_prepare(trained, base, _rule(100_000, chunk=chunk))).tobytes() for chunk in (1 << 20, 1000, 77_777)]
    assert cuts[0] == cuts[1] == cuts[2]


@pytest.mark.parametrize("mode", ["", "none", "masked", "Bound", "bound "])
def test_fails_closed_for_an_unknown_mode(mode: str) -> None:
    privacy = PrivacySection.model_construct(mode=mode, epsilon_budget=0.0, min_samples=1)
    with pytest.raises(UpdateError, match="nothing leaves"):
        _prepare(np.ones(8, np.float32), np.zeros(8, np.float32), _rule(8), privacy)
    with pytest.raises(UpdateError, match="nothing leaves"):
        prepare_moments(np.ones((20, 2)), privacy=privacy, samples=20)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_not_finite_stays(wrong: float) -> None:
    trained = np.zeros(20, np.float32)
    trained[17] = wrong
    with pytest.raises(UpdateError, match="isn't finite"):
        _prepare(trained, np.zeros(20, np.float32), _rule(20))
    with pytest.raises(UpdateError, match="isn't finite"):
        _prepare(np.zeros(20, np.float32), trained, _rule(20))


def test_a_few_patients_stay() -> None:
    with pytest.raises(UpdateError, match="fewer than 10"):
        prepare_update(np.ones(8, np.float32), np.zeros(8, np.float32), rule=_rule(8), privacy=BOUND, samples=9)
    with pytest.raises(UpdateError, match="fewer than 10"):
        prepare_moments(np.ones((9 * 28 * 28, 2)), privacy=BOUND, samples=9)


@pytest.mark.parametrize("shape", [(7,), (9,), (2, 4), ()])
def test_a_model_of_another_shape_is_no_update(shape: tuple[int, ...]) -> None:
    with pytest.raises(UpdateError):
        _prepare(np.ones(shape, np.float32), np.zeros(8, np.float32), _rule(8))
    with pytest.raises(UpdateError):
        _prepare(np.ones(shape, np.float32), np.zeros(shape, np.float32), _rule(8))


def test_a_model_that_changes_after_its_clip_does_not_leave() -> None:
    store = MemoryStore()
    trained = np.zeros(20, np.float32)
    update = _prepare(trained, np.zeros(20, np.float32), _rule(20))
    trained[:] = 100
    with pytest.raises(UpdateError, match="changed after"):
        update.write(store)
    assert store.blobs() == []


def test_statistics_are_sums_alone() -> None:
    assert prepare_moments(np.ones((10, 1)), privacy=BOUND, samples=10) == Moments(10, (10 << 60,), (10 << 60,))
    with pytest.raises(DataError, match="column 0"):
        prepare_moments(np.full((10, 1), np.nan), privacy=BOUND, samples=10)
