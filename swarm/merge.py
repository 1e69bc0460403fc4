"""The merge: a weighted mean in integer arithmetic, chunk by chunk, the same bytes for everybody who recomputes it.

    new = float32(float64(base) + float64(sum_i w_i * q_i) / (sum_i w_i * 2**scale_bits))        element by element

The sum is exact in int64 (a rule that could overflow can't be made), so that order, threads and processor don't
matter; each float operation is one IEEE operation on one element. Chunk i of the output needs chunk i of the base
and of each input, one at a time: memory doesn't grow with the sites or with the model.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntEnum
from math import ldexp
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm.blobs import BlobStore, Buffer
from swarm.errors import BlobInvalid, MergeError
from swarm.fixed import DTYPE_LIMITS, squared_norm
from swarm.manifest import CHUNK_ELEMENTS, BlobKind, Layout, Manifest
from swarm.weights import FLOAT, Floats, check_model, chunk_view

MAX_SITES = 256
_INT64_MAX = 2**63 - 1
_BLOCK = 1 << 15  # elements that stay in a core's cache
_SUBNORMAL = np.float32(2.0**-149)


class Exclusion(IntEnum):
    """Why a committed input is not in the merge; the byte that the ledger keeps.

    UNREACHABLE: nobody gave bytes of its hash. MALFORMED: the bytes are no manifest. WRONG_SHAPE: kind, dtype, scale
    or layout aren't the study's. OVER_CLIP: beyond the bound. NOT_FINITE is for rules that merge floats.
    """

    UNREACHABLE = 1
    MALFORMED = 2
    WRONG_SHAPE = 3
    OVER_CLIP = 4
    NOT_FINITE = 5


class Objection(IntEnum):
    """Why a verifier rejects a published output; the byte that the ledger keeps."""

    WRONG_OUTPUT = 1
    OMITTED_INPUT = 2
    INVALID_INPUT_MERGED = 3
    UNVERIFIABLE = 4


@dataclass(frozen=True, slots=True)
class MergeRule:
    """What an update must be to be merged: the study's layout, scale, clip bound and weight cap.

    `bound` is the largest L2 norm of the integer vector. Raises MergeError where the sum of 256 updates, each as
    large as its dtype allows, could overflow 64 bits.
    """

    layout: Layout
    dtype: str
    scale_bits: int
    bound: int
    weight_cap: int
    chunk_elements: int = CHUNK_ELEMENTS

    def __post_init__(self) -> None:
        limit = DTYPE_LIMITS.get(self.dtype)
        if limit is None:
            raise MergeError(f"updates are {' or '.join(DTYPE_LIMITS)}, not {self.dtype}")
        if not 1 <= self.bound <= limit:
            raise MergeError(f"the clip bound is {self.bound} at this scale: {self.dtype} holds 1..{limit}")
        if not 1 <= self.weight_cap <= max_weight_cap(self.dtype):
            raise MergeError(
                f"the weight cap is {self.weight_cap}: {self.dtype} allows 1..{max_weight_cap(self.dtype)}"
            )


def max_weight_cap(dtype: str) -> int:
    """Largest weight cap for which no sum of 256 updates of this dtype, clipped or not, leaves 64 bits."""
    return _INT64_MAX // (MAX_SITES * (DTYPE_LIMITS[dtype] + 1))


def check_manifest(manifest: Manifest, rule: MergeRule) -> Exclusion | None:
    """Say why an update with this manifest can't be merged, before a byte of it is fetched."""
    given = (manifest.kind, manifest.dtype, manifest.scale_bits, manifest.chunk_elements, manifest.tensors)
    wanted = (BlobKind.UPDATE, rule.dtype, rule.scale_bits, rule.chunk_elements, rule.layout)
    return None if given == wanted else Exclusion.WRONG_SHAPE


class InputCheck:
    """The check of one input while its chunks arrive, in any order and from several threads."""

    def __init__(self, manifest: Manifest, rule: MergeRule) -> None:
        self._dtype = np.dtype(rule.dtype).newbyteorder("<")
        self._limit = rule.bound**2
        self._shape = check_manifest(manifest, rule)
        self._total = 0
        self._left = set(range(len(manifest.chunks)))
        self._lock = Lock()

    def add(self, index: int, data: Buffer) -> None:
        """Count one chunk (once, however often it is given), whose hash was checked before."""
        norm = squared_norm(np.frombuffer(data, self._dtype)) if self._shape is None else 0
        with self._lock:
            if index in self._left:
                self._left.discard(index)
                self._total += norm

    def missing(self) -> list[int]:
        """Chunks that were not counted yet, ascending."""
        with self._lock:
            return sorted(self._left)

    def verdict(self) -> Exclusion | None:
        """Say why the input can't be merged, as far as the chunks so far show; final once none is missing."""
        if self._shape is not None:
            return self._shape
        with self._lock:
            return Exclusion.OVER_CLIP if self._total > self._limit else None


def check_input(store: BlobStore, blob: bytes, rule: MergeRule) -> Exclusion | None:
    """Say why an update in the store can't be merged, None where it can; raises BlobMissing.

    What only the network can tell (UNREACHABLE, MALFORMED) is for the caller to say.
    """
    manifest = store.manifest(blob)
    check = InputCheck(manifest, rule)
    for index in range(len(manifest.chunks)):
        if (verdict := check.verdict()) is not None:
            return verdict
        check.add(index, store.read_chunk(blob, index))
    return check.verdict()


def merge_updates(
    store: BlobStore,
    base: bytes,
    inputs: Sequence[tuple[bytes, int]],
    rule: MergeRule,
    *,
    threads: int = 1,
) -> Manifest:
    """Merge (update, weight) pairs onto the base model and keep the new model.

    The inputs are those that `check_input` found valid; the output doesn't depend on their order or on `threads`.
    Raises MergeError for inputs or a base that the rule doesn't merge, BlobMissing for one that isn't here.
    """
    merge = _Merge(store, base, inputs, rule)
    chunks = _in_order(merge, len(store.manifest(base).chunks), threads)
    views = (chunk_view(chunk, FLOAT) for chunk in chunks)
    return store.create(BlobKind.MODEL, "float32", rule.layout, views, chunk_elements=rule.chunk_elements)


def merged_chunk(
    store: BlobStore, base: bytes, inputs: Sequence[tuple[bytes, int]], rule: MergeRule, index: int
) -> bytes:
    """Give chunk `index` of the model that `merge_updates` makes, for a spot check; raises like it."""
    return bytes(chunk_view(_Merge(store, base, inputs, rule).chunk(index), FLOAT))


class _Merge:
    """One merge, checked once, of which any chunk can be made."""

    def __init__(self, store: BlobStore, base: bytes, inputs: Sequence[tuple[bytes, int]], rule: MergeRule) -> None:
        self._store, self._base, self._inputs, self._rule = store, base, list(inputs), rule
        self._total = sum(weight for _, weight in inputs)
        if not 1 <= len(inputs) <= MAX_SITES:
            raise MergeError(f"{len(inputs)} inputs: a merge has 1..{MAX_SITES}")
        for blob, weight in inputs:
            if not 1 <= weight <= rule.weight_cap:
                raise MergeError(f"input {blob.hex()} has the weight {weight}: the study allows 1..{rule.weight_cap}")
            if check_manifest(store.manifest(blob), rule) is not None:
                raise MergeError(f"input {blob.hex()} isn't an update of this study's shape")
        self._check_base()

    def _check_base(self) -> None:
        manifest = self._store.manifest(self._base)
        try:
            check_model(manifest)
        except BlobInvalid as error:
            raise MergeError(f"base {error}") from None
        if (manifest.tensors, manifest.chunk_elements) != (self._rule.layout, self._rule.chunk_elements):
            raise MergeError(f"base {self._base.hex()} isn't a model of this study's shape")

    def chunk(self, index: int) -> Floats:
        if not _SUBNORMAL + _SUBNORMAL:
            raise MergeError("this process flushes subnormal numbers to zero: its merge could differ from the others'")
        base = np.frombuffer(self._store.read_chunk(self._base, index), FLOAT)
        total = np.zeros(base.size, np.int64)
        for blob, weight in self._inputs:
            _add_weighted(total, self._integers(blob, index), weight)
        merged = _add_mean(base, total, ldexp(float(self._total), self._rule.scale_bits))
        if not np.isfinite(merged).all():
            raise MergeError(f"chunk {index} of the merged model would hold a number that isn't finite")
        return merged

    def _integers(self, blob: bytes, index: int) -> NDArray[Any]:
        return np.frombuffer(self._store.read_chunk(blob, index), np.dtype(self._rule.dtype).newbyteorder("<"))


def _add_weighted(total: NDArray[np.int64], values: NDArray[Any], weight: int) -> None:
    scratch = np.empty(min(_BLOCK, total.size), np.int64)
    for start in range(0, total.size, _BLOCK):
        block = total[start : start + _BLOCK]
        product = scratch[: block.size]
        product[:] = values[start : start + _BLOCK]
        np.multiply(product, weight, out=product)
        np.add(block, product, out=block)


def _add_mean(base: Floats, total: NDArray[np.int64], divisor: float) -> Floats:
    merged = np.empty(base.size, FLOAT)
    scratch = np.empty(min(_BLOCK, base.size), np.float64)
    with np.errstate(over="ignore"):  # the caller refuses what isn't finite
        for start in range(0, base.size, _BLOCK):
            part = slice(start, start + _BLOCK)
            mean = scratch[: base[part].size]
            mean[:] = total[part]
            np.divide(mean, divisor, out=mean)
            np.add(mean, base[part], out=mean)
            merged[part] = mean
    return merged


def _in_order(merge: _Merge, count: int, threads: int) -> Iterator[Floats]:
    """Make all chunks in order, at most `threads` ahead of whoever takes them."""
    with ThreadPoolExecutor(threads, "merge") as pool:
        ahead: deque[Future[Floats]] = deque()
        try:
            for index in range(count):
                ahead.append(pool.submit(merge.chunk, index))
                if len(ahead) > threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()
