"""Manifests: what a blob holds, chunk by chunk. A blob's identity is the SHA-256 of its manifest."""

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import prod
from typing import Any

from swarm.errors import BlobInvalid
from swarm.nesting import check_nesting

MAX_MANIFEST_BYTES = 1 << 20
MAX_ELEMENTS = 1 << 31
MAX_DIMENSIONS = 16
MAX_NAME = 256
CHUNK_ELEMENTS = 1 << 20
RESERVED_NAME = "__metadata__"
_KEYS = {"version", "kind", "dtype", "scale_bits", "chunk_elements", "tensors", "chunks"}
_ITEM_BYTES = {"int16": 2, "int32": 4, "int64": 8, "float32": 4}


class BlobKind(StrEnum):
    """What a blob is for."""

    UPDATE = "update"
    MODEL = "model"
    MOMENTS = "moments"


@dataclass(frozen=True, slots=True)
class TensorShape:
    """Name and shape of one tensor; a scalar has the shape (), and no tensor is empty."""

    name: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        name = self.name
        if not (isinstance(name, str) and name.isascii() and name.isprintable() and 0 < len(name) <= MAX_NAME):
            raise BlobInvalid(f"manifest: a tensor's name is not 1 to {MAX_NAME} printable ASCII characters")
        if name == RESERVED_NAME:
            raise BlobInvalid(f"manifest: {name!r} is not a tensor's name: model files keep it for themselves")
        if len(self.shape) > MAX_DIMENSIONS:
            raise BlobInvalid(f"manifest: tensor {name!r} has more than {MAX_DIMENSIONS} dimensions")
        for size in self.shape:
            if type(size) is not int or not 0 < size <= MAX_ELEMENTS:
                raise BlobInvalid(f"manifest: tensor {name!r} has a dimension that is not in 1..{MAX_ELEMENTS}")

    @property
    def elements(self) -> int:
        """Number of elements."""
        return prod(self.shape)


Layout = tuple[TensorShape, ...]


def layout_elements(layout: Layout) -> int:
    """Count the elements of a flat vector of this layout."""
    return sum(tensor.elements for tensor in layout)


def vector_bytes(dtype: str, layout: Layout) -> int:
    """Count the bytes of a flat vector of this layout; raises BlobInvalid for what can't be a blob."""
    if dtype not in _ITEM_BYTES:
        raise BlobInvalid(f"manifest: unknown dtype {dtype!r}")
    elements = layout_elements(layout)
    if not 0 < elements <= MAX_ELEMENTS:
        raise BlobInvalid(f"manifest: {elements} elements are not in 1..{MAX_ELEMENTS}")
    return elements * _ITEM_BYTES[dtype]


def chunk_bytes(dtype: str, chunk_elements: int) -> int:
    """Count the bytes of a full chunk; raises BlobInvalid for an unknown dtype, or chunks too large."""
    if dtype not in _ITEM_BYTES:
        raise BlobInvalid(f"manifest: unknown dtype {dtype!r}")
    if not 1 <= chunk_elements <= CHUNK_ELEMENTS:
        raise BlobInvalid(f"manifest: chunk_elements {chunk_elements} is not in 1..{CHUNK_ELEMENTS}")
    return chunk_elements * _ITEM_BYTES[dtype]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A blob's table of contents.

    The tensors, sorted by name and flattened in C order, are one vector of little-endian `dtype` numbers, cut into
    chunks of `chunk_elements` (the last one may be shorter). Chunk i of a merged model depends on chunk i of each
    input and on nothing else. An element of an integer blob stands for `value / 2**scale_bits`.
    """

    kind: BlobKind
    dtype: str
    scale_bits: int
    chunk_elements: int
    tensors: Layout
    chunks: tuple[bytes, ...]

    def __post_init__(self) -> None:
        expected = -(-vector_bytes(self.dtype, self.tensors) // chunk_bytes(self.dtype, self.chunk_elements))
        if not 0 <= self.scale_bits <= 62:
            raise BlobInvalid(f"manifest: scale_bits {self.scale_bits} is not in 0..62")
        if self.dtype == "float32" and self.scale_bits:
            raise BlobInvalid("manifest: a float32 vector has no scale_bits")
        if any(first.name >= second.name for first, second in pairwise(self.tensors)):
            raise BlobInvalid("manifest: tensor names are not sorted and unique")
        if len(self.chunks) != expected:
            raise BlobInvalid(f"manifest: {len(self.chunks)} chunks where {expected} are needed")

    @property
    def elements(self) -> int:
        """Number of elements of the whole vector."""
        return layout_elements(self.tensors)

    @property
    def item_bytes(self) -> int:
        """Bytes per element."""
        return _ITEM_BYTES[self.dtype]

    @property
    def size(self) -> int:
        """Bytes of the whole vector."""
        return self.elements * self.item_bytes

    def chunk_offset(self, index: int) -> int:
        """Byte offset of a chunk in the vector."""
        return index * chunk_bytes(self.dtype, self.chunk_elements)

    def chunk_size(self, index: int) -> int:
        """Bytes of one chunk; raises BlobInvalid where there is no such chunk."""
        if not 0 <= index < len(self.chunks):
            raise BlobInvalid(f"no chunk {index}: the blob has {len(self.chunks)}")
        return min(self.chunk_elements * self.item_bytes, self.size - self.chunk_offset(index))

    def encode(self) -> bytes:
        """Canonical JSON: sorted keys, no white space, ASCII."""
        record = {
            "version": 1,
            "kind": self.kind.value,
            "dtype": self.dtype,
            "scale_bits": self.scale_bits,
            "chunk_elements": self.chunk_elements,
            "tensors": [[tensor.name, list(tensor.shape)] for tensor in self.tensors],
            "chunks": [chunk.hex() for chunk in self.chunks],
        }
        return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()

    @property
    def blob(self) -> bytes:
        """The blob's identity: SHA-256 of the canonical manifest."""
        return hashlib.sha256(self.encode()).digest()

    @classmethod
    def decode(cls, data: bytes) -> "Manifest":
        """Parse what `encode` wrote, and nothing else; raises BlobInvalid."""
        if len(data) > MAX_MANIFEST_BYTES:
            raise BlobInvalid(f"manifest: {len(data)} bytes, at most {MAX_MANIFEST_BYTES} are allowed")
        try:
            manifest = cls._from_record(json.loads(check_nesting(data)))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            if isinstance(error, BlobInvalid):
                raise
            raise BlobInvalid(f"manifest: not a manifest ({type(error).__name__})") from None
        if manifest.encode() != data:
            raise BlobInvalid("manifest: not in canonical form")
        return manifest

    @classmethod
    def _from_record(cls, record: Any) -> "Manifest":
        if not isinstance(record, dict) or set(record) != _KEYS or record["version"] != 1:
            raise BlobInvalid("manifest: not a version 1 manifest")
        return cls(
            kind=BlobKind(record["kind"]),
            dtype=_text(record["dtype"]),
            scale_bits=_natural(record["scale_bits"]),
            chunk_elements=_natural(record["chunk_elements"]),
            tensors=tuple(TensorShape(_text(name), tuple(map(_natural, shape))) for name, shape in record["tensors"]),
            chunks=tuple(_digest(chunk) for chunk in record["chunks"]),
        )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise BlobInvalid("manifest: a name is not text")
    return value


def _natural(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise BlobInvalid("manifest: a size is not a whole number")
    return value


def _digest(value: Any) -> bytes:
    digest = bytes.fromhex(value)
    if len(digest) != 32:
        raise BlobInvalid("manifest: a chunk hash is not 32 bytes")
    return digest
