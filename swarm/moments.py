"""Statistics of the features: count, sums and sums of squares, added exactly, so that all sites standardise alike.

A moments blob holds the int64 tensors `count` [1], `sum` [columns, 6] and `sumsq` [columns, 6]. Each sum is an
integer at 2**-60, cut into six limbs of 32 bits, the last one signed. Adding blobs element by element adds the sums,
without carries and without overflow for 256 sites, also in Z_2^64 under masks; the study's author has no scale to
choose, whatever the features' units.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import fsum, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm.blobs import BlobStore
from swarm.errors import BlobInvalid, DataError, MergeError
from swarm.manifest import CHUNK_ELEMENTS, BlobKind, Layout, Manifest, TensorShape, layout_elements
from swarm.merge import MAX_SITES, Exclusion
from swarm.weights import chunk_view, cut

MOMENTS_SCALE_BITS = 60
MAX_VALUE = 2.0**40
MAX_COUNT = 2**40
_LIMBS = 6
_LIMB_BITS = 32
_INT64 = np.dtype("<i8")
_RELATIVE_SPREAD = Fraction(1, 10**14)  # of the mean square: below it a variance is the rounding of constant values
_ABSOLUTE_SPREAD = Fraction(1, 2**56)

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Moments:
    """Number of rows, and each column's sum and sum of squares as integers at 2**-60."""

    count: int
    sums: tuple[int, ...]
    squares: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Standardisation:
    """Each column's mean and scale, float64 [columns]: a column is used as `(x - mean) / scale`.

    A column without spread (below 1e-7 of its root mean square, or below 2**-28) has the scale 1.
    """

    count: int
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    def apply(self, matrix: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Standardise rows [n, columns]."""
        return (matrix.astype(np.float64) - self.mean) / self.scale


def moments_layout(columns: int) -> Layout:
    """Describe the moments of this many columns."""
    return (
        TensorShape("count", (1,)),
        TensorShape("sum", (columns, _LIMBS)),
        TensorShape("sumsq", (columns, _LIMBS)),
    )


def compute_moments(matrix: NDArray[np.floating[Any]]) -> Moments:
    """Sum up rows [n, columns]; the sums are correctly rounded, so that the order of the rows doesn't matter.

    Raises DataError for a value that isn't finite or is beyond 2**40, naming its column by index, and for no rows.
    """
    if matrix.ndim != 2 or not 0 < matrix.shape[0] <= MAX_COUNT or not matrix.shape[1]:
        raise DataError(f"statistics need a table with rows and columns, not one of shape {matrix.shape}")
    columns = [np.ascontiguousarray(column, np.float64) for column in matrix.T]
    for index, column in enumerate(columns):
        if not np.isfinite(column).all():
            raise DataError(f"column {index} holds a value that is missing or not finite")
        if np.abs(column).max() > MAX_VALUE:
            raise DataError(f"column {index} holds a value beyond 2**40: give it in a larger unit")
    return Moments(
        count=matrix.shape[0],
        sums=tuple(_to_fixed(fsum(column.tolist())) for column in columns),
        squares=tuple(_to_fixed(fsum((column * column).tolist())) for column in columns),
    )


def write_moments(store: BlobStore, moments: Moments) -> Manifest:
    """Keep moments as a blob."""
    vector = np.array(
        [moments.count] + [limb for value in moments.sums + moments.squares for limb in _to_limbs(value)], _INT64
    )
    return _write(store, vector, moments_layout(len(moments.sums)))


def read_moments(store: BlobStore, blob: bytes) -> Moments:
    """Read moments, of one site or merged; raises BlobMissing, or BlobInvalid where it isn't such a blob."""
    manifest = store.manifest(blob)
    columns = _columns(manifest)
    vector = _read(store, blob, manifest)
    values = [_from_limbs(limbs) for limbs in vector[1:].reshape(-1, _LIMBS).tolist()]
    return Moments(int(vector[0]), tuple(values[:columns]), tuple(values[columns:]))


def check_moments(store: BlobStore, blob: bytes, columns: int) -> Exclusion | None:
    """Say why a site's moments can't be merged, None where they can; raises BlobMissing."""
    manifest = store.manifest(blob)
    if not _is_moments(manifest) or manifest.tensors != moments_layout(columns):
        return Exclusion.WRONG_SHAPE
    vector = _read(store, blob, manifest)
    limbs = vector[1:].reshape(2, columns, _LIMBS)
    low, top = limbs[..., :-1], limbs[..., -1]
    half = 1 << (_LIMB_BITS - 1)
    bounded = (low >= 0).all() and (low < 1 << _LIMB_BITS).all() and (top >= -half).all() and (top < half).all()
    if not bounded or not 1 <= vector[0] <= MAX_COUNT or (top[1] < 0).any():
        return Exclusion.OVER_CLIP
    return None


def merge_moments(store: BlobStore, inputs: Sequence[bytes]) -> Manifest:
    """Add up the sites' moments, in Z_2^64 and any order; raises MergeError, or BlobMissing."""
    if not 1 <= len(inputs) <= MAX_SITES:
        raise MergeError(f"{len(inputs)} inputs: a merge has 1..{MAX_SITES}")
    layout = store.manifest(inputs[0]).tensors
    total = np.zeros(layout_elements(layout), _INT64)
    for blob in inputs:
        manifest = store.manifest(blob)
        if not _is_moments(manifest) or manifest.tensors != layout:
            raise MergeError(f"input {blob.hex()} doesn't hold moments of the same columns as the others")
        total += _read(store, blob, manifest)
    return _write(store, total, layout)


def standardisation(store: BlobStore, blob: bytes) -> Standardisation:
    """Derive means and scales from merged moments, the same on every processor; raises like `read_moments`."""
    moments = read_moments(store, blob)
    if moments.count < 1:
        raise BlobInvalid(f"moments {blob.hex()} count no rows")
    unit = moments.count << MOMENTS_SCALE_BITS
    pairs = [(Fraction(s, unit), Fraction(q, unit)) for s, q in zip(moments.sums, moments.squares, strict=True)]
    mean = np.array([float(average) for average, _ in pairs])
    scale = np.array([_scale(square - average**2, square) for average, square in pairs])
    return Standardisation(moments.count, mean, scale)


def _scale(variance: Fraction, square: Fraction) -> float:
    if variance <= max(_ABSOLUTE_SPREAD, square * _RELATIVE_SPREAD):
        return 1.0
    return sqrt(float(variance))


def _to_fixed(value: float) -> int:
    return round(Fraction(value) * (1 << MOMENTS_SCALE_BITS))


def _to_limbs(value: int) -> list[int]:
    mask = (1 << _LIMB_BITS) - 1
    low = [value >> (_LIMB_BITS * index) & mask for index in range(_LIMBS - 1)]
    return [*low, value >> (_LIMB_BITS * (_LIMBS - 1))]


def _from_limbs(limbs: list[int]) -> int:
    return sum(limb << (_LIMB_BITS * index) for index, limb in enumerate(limbs))


def _is_moments(manifest: Manifest) -> bool:
    return (
        manifest.kind is BlobKind.MOMENTS
        and manifest.dtype == "int64"
        and manifest.scale_bits == MOMENTS_SCALE_BITS
        and manifest.chunk_elements == CHUNK_ELEMENTS
    )


def _columns(manifest: Manifest) -> int:
    columns = next((tensor.shape[0] for tensor in manifest.tensors if tensor.name == "sum" and tensor.shape), 0)
    if not _is_moments(manifest) or not columns or manifest.tensors != moments_layout(columns):
        raise BlobInvalid(f"blob {manifest.blob.hex()} doesn't hold moments")
    return columns


def _read(store: BlobStore, blob: bytes, manifest: Manifest) -> Integers:
    return np.concatenate(
        [np.frombuffer(store.read_chunk(blob, index), _INT64) for index in range(len(manifest.chunks))]
    )


def _write(store: BlobStore, vector: Integers, layout: Layout) -> Manifest:
    chunks = (chunk_view(chunk, _INT64) for chunk in cut(vector))
    return store.create(BlobKind.MOMENTS, "int64", layout, chunks, scale_bits=MOMENTS_SCALE_BITS)
