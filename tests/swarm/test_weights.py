import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from swarm.errors import BlobInvalid, BlobMissing
from swarm.manifest import BlobKind, TensorShape
from swarm.memory_store import MemoryStore
from swarm.weights import (
    cut,
    flatten,
    layout_of,
    read_model,
    read_vector,
    unflatten,
    write_model,
    write_vector,
)

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
tensors = arrays(np.float32, array_shapes(min_dims=0, max_dims=3, max_side=4), elements=finite)
models = st.dictionaries(st.text("abc.0", min_size=1, max_size=8), tensors, min_size=1, max_size=5)


@settings(deadline=None)
@given(models)
def test_a_model_comes_back_bit_by_bit(model: dict[str, NDArray[np.float32]]) -> None:
    store = MemoryStore()
    back = read_model(store, write_model(store, model).blob)
    assert list(back) == sorted(model)
    for name, tensor in model.items():
        assert back[name].shape == tensor.shape
        assert back[name].tobytes() == tensor.tobytes()


def test_the_order_in_which_tensors_are_given_does_not_matter() -> None:
    one, two = np.ones(3, np.float32), np.zeros((2, 2), np.float32)
    assert write_model(MemoryStore(), {"a": one, "b": two}) == write_model(MemoryStore(), {"b": two, "a": one})


def test_how_a_tensor_lies_in_memory_does_not_matter() -> None:
    tensor = np.arange(6, dtype=np.float32).reshape(2, 3)
    for same in (np.asfortranarray(tensor), tensor.astype(">f4"), np.repeat(tensor, 2, axis=1)[:, ::2]):
        assert flatten({"w": same}).tobytes() == tensor.tobytes()


def test_float_buffers_are_part_of_a_model() -> None:
    model = {"norm.running_mean": np.ones(2, np.float32), "norm.weight": np.ones(2, np.float32)}
    assert [tensor.name for tensor in layout_of(model)] == ["norm.running_mean", "norm.weight"]


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.float64, np.float16, np.bool_])
def test_other_buffers_are_not(dtype: type[np.generic]) -> None:
    with pytest.raises(BlobInvalid, match="num_batches_tracked"):
        layout_of({"norm.num_batches_tracked": np.zeros((), dtype)})


def test_a_layout_fits_its_vector_alone() -> None:
    layout = (TensorShape("w", (2, 3)),)
    for shape in [(5,), (7,), (2, 3)]:
        with pytest.raises(BlobInvalid, match="6 elements"):
            unflatten(np.zeros(shape, np.float32), layout)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_model_is_finite(wrong: float) -> None:
    with pytest.raises(BlobInvalid, match="'b' holds a number that isn't finite"):
        write_model(MemoryStore(), {"a": np.zeros(2, np.float32), "b": np.array([0, wrong], np.float32)})


def test_a_model_has_tensors() -> None:
    with pytest.raises(BlobInvalid):
        write_model(MemoryStore(), {})


def test_the_chunks_are_the_vector() -> None:
    store, vector = MemoryStore(), np.arange(10, dtype=np.float32)
    manifest = write_vector(store, vector, (TensorShape("w", (10,)),), chunk_elements=4)
    assert b"".join(store.read_chunk(manifest.blob, index) for index in range(3)) == vector.astype("<f4").tobytes()
    assert [chunk.size for chunk in cut(vector, 4)] == [4, 4, 2]
    back, layout = read_vector(store, manifest.blob)
    assert (back.tolist(), layout) == (vector.tolist(), manifest.tensors)


def test_only_a_model_is_read_as_a_model() -> None:
    store = MemoryStore()
    update = store.create(BlobKind.UPDATE, "int32", (TensorShape("w", (1,)),), [bytes(4)])
    with pytest.raises(BlobInvalid, match="not a float32 model"):
        read_model(store, update.blob)
    with pytest.raises(BlobMissing):
        read_model(store, bytes(32))
