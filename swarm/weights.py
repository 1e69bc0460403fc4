"""Canonical weights: named float32 tensors as one flat vector, and that vector as a model blob.

Parameters and float buffers (a batch norm's running mean and variance) travel alike. Integer buffers (its
`num_batches_tracked`) are no part of a model: they stay at their site, and a layout that holds one is refused.
"""

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm.blobs import BlobStore
from swarm.errors import BlobInvalid
from swarm.manifest import CHUNK_ELEMENTS, BlobKind, Layout, Manifest, TensorShape, layout_elements

FLOAT = np.dtype("<f4")

Floats = NDArray[np.float32]


def layout_of(tensors: Mapping[str, NDArray[Any]]) -> Layout:
    """Describe a model's tensors, sorted by name; raises BlobInvalid for a tensor that isn't float32."""
    for name, tensor in tensors.items():
        if (tensor.dtype.kind, tensor.dtype.itemsize) != ("f", 4):
            raise BlobInvalid(f"tensor {name!r} is {tensor.dtype}: a model holds float32 tensors alone")
    return tuple(TensorShape(name, tuple(map(int, tensors[name].shape))) for name in sorted(tensors))


def flatten(tensors: Mapping[str, NDArray[Any]]) -> Floats:
    """Copy a model's tensors into one float32 vector, in the order of their names; raises BlobInvalid."""
    layout = layout_of(tensors)
    vector = np.empty(layout_elements(layout), FLOAT)
    for name, part in unflatten(vector, layout).items():
        part[...] = tensors[name]
    return vector


def unflatten(vector: Floats, layout: Layout) -> dict[str, Floats]:
    """Give a model's tensors by name, as views of the vector; raises BlobInvalid where the sizes differ."""
    if vector.shape != (layout_elements(layout),):
        raise BlobInvalid(f"a vector of shape {vector.shape} isn't one of {layout_elements(layout)} elements")
    tensors: dict[str, Floats] = {}
    start = 0
    for tensor in layout:
        size = prod(tensor.shape)
        tensors[tensor.name] = vector[start : start + size].reshape(tensor.shape)
        start += size
    return tensors


def cut(vector: NDArray[Any], chunk_elements: int = CHUNK_ELEMENTS) -> Iterator[NDArray[Any]]:
    """Give a vector's chunks, as views."""
    for start in range(0, len(vector), chunk_elements):
        yield vector[start : start + chunk_elements]


def chunk_view(values: NDArray[Any], dtype: str | np.dtype[Any]) -> memoryview:
    """Give a chunk's little-endian bytes, without copying where it already lies so."""
    return np.ascontiguousarray(values, np.dtype(dtype).newbyteorder("<")).data.cast("B")


def write_vector(store: BlobStore, vector: Floats, layout: Layout, *, chunk_elements: int = CHUNK_ELEMENTS) -> Manifest:
    """Keep a flat vector as a model blob; raises BlobInvalid where it isn't finite or doesn't fit the layout."""
    for name, tensor in unflatten(vector, layout).items():
        if not np.isfinite(tensor).all():
            raise BlobInvalid(f"tensor {name!r} holds a number that isn't finite")
    chunks = (chunk_view(chunk, FLOAT) for chunk in cut(vector, chunk_elements))
    return store.create(BlobKind.MODEL, "float32", layout, chunks, chunk_elements=chunk_elements)


def read_vector(store: BlobStore, blob: bytes) -> tuple[Floats, Layout]:
    """Read a model blob as a flat vector; raises BlobMissing, or BlobInvalid where it isn't a model."""
    manifest = store.manifest(blob)
    check_model(manifest)
    vector = np.empty(manifest.elements, FLOAT)
    for index, part in enumerate(cut(vector, manifest.chunk_elements)):
        part[...] = np.frombuffer(store.read_chunk(blob, index), FLOAT)
    return vector, manifest.tensors


def write_model(store: BlobStore, tensors: Mapping[str, NDArray[Any]]) -> Manifest:
    """Keep a model's tensors as a blob; raises BlobInvalid for tensors that aren't finite float32."""
    return write_vector(store, flatten(tensors), layout_of(tensors))


def read_model(store: BlobStore, blob: bytes) -> dict[str, Floats]:
    """Read a model blob's tensors by name; raises BlobMissing, or BlobInvalid where it isn't a model."""
    return unflatten(*read_vector(store, blob))


def check_model(manifest: Manifest) -> None:
    """Refuse a manifest that isn't a model's; raises BlobInvalid."""
    if manifest.kind is not BlobKind.MODEL or manifest.dtype != "float32":
        raise BlobInvalid(f"blob {manifest.blob.hex()} is {manifest.kind} of {manifest.dtype}, not a float32 model")
