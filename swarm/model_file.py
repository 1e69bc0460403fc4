"""The model file: one canonical safetensors file, whose data region is the model's flat vector.

Tensors lie in the order of their names, the header has no metadata, and the file is byte for byte what the
safetensors library writes for the same tensors. Reading trusts nothing: the header is bounded, and each byte of the
data region belongs to exactly one tensor.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from swarm.blobs import BlobStore, write_chunks
from swarm.errors import BlobInvalid
from swarm.manifest import CHUNK_ELEMENTS, MAX_ELEMENTS, RESERVED_NAME, BlobKind, Layout, Manifest, TensorShape
from swarm.weights import FLOAT, check_model

MAX_HEADER_BYTES = 1 << 21
_LENGTH_BYTES = 8
_ENTRY = {"dtype", "shape", "data_offsets"}

PathLike = str | os.PathLike[str]
Extents = list[tuple[int, int]]


def export_safetensors(store: BlobStore, blob: bytes, path: PathLike) -> None:
    """Write a model blob as a safetensors file, durably and at once; raises BlobMissing, or BlobInvalid."""
    manifest = store.manifest(blob)
    check_model(manifest)
    target = Path(path)
    draft = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        with open(draft, "wb") as file:
            file.write(_header(manifest.tensors))
            for index in range(len(manifest.chunks)):
                file.write(store.read_chunk(blob, index))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def import_safetensors(path: PathLike, store: BlobStore) -> Manifest:
    """Keep a safetensors file of finite float32 tensors as a model blob; raises BlobInvalid for any other file.

    Metadata is ignored. Raises OSError where the file can't be read.
    """
    with open(path, "rb") as file:
        layout, extents = _read_header(file)
        return store.create(BlobKind.MODEL, "float32", layout, _chunks(file, extents))


def model_hash(path: PathLike) -> bytes:
    """Give the blob of a model file, which is what the ledger holds; raises like `import_safetensors`."""
    with open(path, "rb") as file:
        layout, extents = _read_header(file)
        return write_chunks(BlobKind.MODEL, "float32", layout, _chunks(file, extents), lambda _: None).blob


def _header(layout: Layout) -> bytes:
    record: dict[str, Any] = {}
    start = 0
    for tensor in layout:
        end = start + tensor.elements * FLOAT.itemsize
        record[tensor.name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(record, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text


def _read_header(file: BinaryIO) -> tuple[Layout, Extents]:
    """Give a file's layout, and each tensor's place (offset and bytes) in the order of the layout."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    if not 2 <= length <= min(MAX_HEADER_BYTES, size - _LENGTH_BYTES):
        raise BlobInvalid(f"model file: a header of {length} bytes is too long, or cut short")
    try:
        record = json.loads(file.read(length), object_pairs_hook=_without_duplicates)
        entries = [_read_entry(name, entry) for name, entry in record.items() if name != RESERVED_NAME]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, BlobInvalid):
            raise
        raise BlobInvalid(f"model file: the header isn't one of safetensors ({type(error).__name__})") from None
    start = _LENGTH_BYTES + length
    _check_coverage([place for _, place in entries], size - start)
    entries.sort(key=lambda entry: entry[0].name)
    return tuple(tensor for tensor, _ in entries), [(start + begin, end - begin) for _, (begin, end) in entries]


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise BlobInvalid("model file: the header names something twice")
    return record


def _read_entry(name: str, entry: Any) -> tuple[TensorShape, tuple[int, int]]:
    if set(entry) != _ENTRY or entry["dtype"] != "F32":
        raise BlobInvalid(f"model file: tensor {name!r} isn't float32 (F32): a model holds float32 tensors alone")
    tensor = TensorShape(name, tuple(entry["shape"]))
    begin, end = entry["data_offsets"]
    if type(begin) is not int or type(end) is not int or end - begin != tensor.elements * FLOAT.itemsize:
        raise BlobInvalid(f"model file: tensor {name!r} doesn't have as many bytes as its shape needs")
    return tensor, (begin, end)


def _check_coverage(places: Extents, size: int) -> None:
    """Refuse gaps and overlaps: each byte of the data region belongs to one tensor."""
    reached = 0
    for begin, end in sorted(places):
        if begin != reached:
            raise BlobInvalid("model file: the tensors leave a gap, or overlap")
        reached = end
    if reached != size or not 0 < size <= MAX_ELEMENTS * FLOAT.itemsize:
        raise BlobInvalid(f"model file: {size} bytes of data where the header has {reached}")


def _chunks(file: BinaryIO, extents: Extents) -> Iterator[bytearray]:
    """Cut the tensors, in their order, into chunks; refuse what isn't finite."""
    full = CHUNK_ELEMENTS * FLOAT.itemsize
    chunk = bytearray()
    for offset, length in extents:
        while length:
            data = os.pread(file.fileno(), min(length, full - len(chunk)), offset)
            if not data:
                raise BlobInvalid("model file: cut short while it was being read")
            chunk += data
            offset, length = offset + len(data), length - len(data)
            if len(chunk) == full:
                yield _finite(chunk)
                chunk = bytearray()
    if chunk:
        yield _finite(chunk)


def _finite(chunk: bytearray) -> bytearray:
    if not np.isfinite(np.frombuffer(chunk, FLOAT)).all():
        raise BlobInvalid("model file: a tensor holds a number that isn't finite")
    return chunk
