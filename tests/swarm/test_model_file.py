import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swarm.errors import BlobInvalid, BlobMissing
from swarm.manifest import CHUNK_ELEMENTS
from swarm.memory_store import MemoryStore
from swarm.model_file import MAX_HEADER_BYTES, export_safetensors, import_safetensors, model_hash
from swarm.weights import read_model, write_model

MODEL = {
    "layer.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "layer.bias": np.array([1.5, -2.5], np.float32),
    "scale": np.array(0.25, np.float32),
}


def _file(path: Path, header: object, data: bytes) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def _entry(begin: int, end: int, **changes: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [(end - begin) // 4], "data_offsets": [begin, end]} | changes


def test_is_the_file_that_the_safetensors_library_writes(tmp_path: Path) -> None:
    store = MemoryStore()
    export_safetensors(store, write_model(store, MODEL).blob, tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").read_bytes() == safetensors.numpy.save(MODEL)
    assert os.listdir(tmp_path) == ["model.safetensors"]


def test_its_hash_is_the_blob_of_the_model(tmp_path: Path) -> None:
    store, other = MemoryStore(), MemoryStore()
    manifest = write_model(store, MODEL)
    path = tmp_path / "model.safetensors"
    export_safetensors(store, manifest.blob, path)
    assert model_hash(path) == manifest.blob
    assert import_safetensors(path, other) == manifest
    assert read_model(other, manifest.blob)["layer.weight"].tolist() == MODEL["layer.weight"].tolist()


def test_several_chunks_and_any_order_of_tensors(tmp_path: Path) -> None:
    big = np.random.default_rng(0).normal(size=CHUNK_ELEMENTS + 5).astype(np.float32)
    small = np.ones(3, np.float32)
    header = {"b": _entry(0, big.nbytes), "a": _entry(big.nbytes, big.nbytes + 12), "__metadata__": {"by": "somebody"}}
    path = _file(tmp_path / "m", header, big.tobytes() + small.tobytes())
    assert model_hash(path) == write_model(MemoryStore(), {"a": small, "b": big}).blob


def test_an_export_replaces_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"an older model")
    with pytest.raises(BlobMissing):
        export_safetensors(MemoryStore(), bytes(32), path)
    assert path.read_bytes() == b"an older model"


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ({"a": _entry(0, 8, dtype="F64")}, bytes(8)),
        ({"a": _entry(0, 8, dtype="I64")}, bytes(8)),
        ({"a": _entry(0, 8, dtype=["F32"])}, bytes(8)),
        ({"a": _entry(0, 8, shape=[3])}, bytes(8)),
        ({"a": _entry(0, 8, shape=[-2])}, bytes(8)),
        ({"a": _entry(0, 8, shape=[2.0])}, bytes(8)),
        ({"a": _entry(0, 8, shape=[True, 2])}, bytes(8)),
        ({"a": _entry(0, 8, shape=2)}, bytes(8)),
        ({"a": _entry(0, 8, shape="2")}, bytes(8)),
        ({"a": _entry(0, 8, shape=[[2]])}, bytes(8)),
        ({"a": _entry(0, 8, shape=[0])}, bytes(8)),
        ({"a": _entry(0, 8, extra=1)}, bytes(8)),
        ({"a": _entry(0, 8, data_offsets=[0])}, bytes(8)),
        ({"a": _entry(0, 8, data_offsets=[0.0, 8.0])}, bytes(8)),
        ({"a": _entry(0, 8, data_offsets=[-8, 0])}, bytes(8)),
        ({"a": _entry(0, 8, data_offsets=None)}, bytes(8)),
        ({"a": {"dtype": "F32", "shape": [2]}}, bytes(8)),
        ({"a": 7}, bytes(8)),
        ({"a": None}, bytes(8)),
        ({"a": _entry(0, 8)}, bytes(7)),
        ({"a": _entry(0, 8)}, bytes(9)),
        ({"a": _entry(4, 8)}, bytes(8)),
        ({"a": _entry(0, 8), "b": _entry(4, 12)}, bytes(12)),
        ({"a": _entry(0, 8), "b": _entry(0, 8)}, bytes(16)),
        ({"a": _entry(0, 4), "b": _entry(8, 12)}, bytes(12)),
        ({"a": _entry(0, 2**33)}, bytes(8)),
        ({"": _entry(0, 8)}, bytes(8)),
        ({"\n": _entry(0, 8)}, bytes(8)),
        ({"é": _entry(0, 8)}, bytes(8)),
        ({"a": _entry(0, 8)}, np.array([1, np.nan], np.float32).tobytes()),
        ({"a": _entry(0, 8)}, np.array([-np.inf, 1], np.float32).tobytes()),
        ({"__metadata__": {}}, b""),
        ({}, b""),
        ([], b""),
        (None, b""),
        (b"{" * 100_000, b""),
        (b"[" * 100_000, b""),
        (b'{"a":' + b"9" * 10_000 + b"}", b""),
        (b"\xff\xff", b""),
        (
            b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
            bytes(4),
        ),
    ],
)
def test_refuses_hostile_files(tmp_path: Path, header: object, data: bytes) -> None:
    with pytest.raises(BlobInvalid):
        model_hash(_file(tmp_path / "m", header, data))


@pytest.mark.parametrize(
    "data", [b"", b"\x01", bytes(8), b"\xff" * 8, (MAX_HEADER_BYTES + 1).to_bytes(8, "little") + bytes(3 << 20)]
)
def test_refuses_a_header_that_is_not_there(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m").write_bytes(data)
    with pytest.raises(BlobInvalid, match="header"):
        model_hash(tmp_path / "m")


FILE = safetensors.numpy.save(MODEL)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(FILE) - 1), patch=st.binary(max_size=4), cut=st.integers(0, 20))
def test_a_damaged_file_is_refused_or_another_model(tmp_path: Path, at: int, patch: bytes, cut: int) -> None:
    data = FILE[:at] + patch + FILE[at + len(patch) :]
    (tmp_path / "m").write_bytes(data[: len(data) - cut])
    try:
        manifest = import_safetensors(tmp_path / "m", MemoryStore())
    except BlobInvalid:
        return
    assert manifest.blob == model_hash(tmp_path / "m")
