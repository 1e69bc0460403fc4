"""The store of content-addressed blobs: one port, and what every implementation of it shares."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Protocol

from swarm.errors import BlobInvalid
from swarm.manifest import CHUNK_ELEMENTS, MAX_MANIFEST_BYTES, BlobKind, Layout, Manifest, chunk_bytes, vector_bytes

BLOB_BYTES = 32
Buffer = bytes | bytearray | memoryview


class Receiver(Protocol):
    """A blob that is being received, chunk by chunk, in any order; it resumes where an earlier one was cut."""

    def missing(self) -> list[int]:
        """Chunks that are not here yet, ascending."""
        ...

    def write(self, index: int, data: Buffer) -> None:
        """Keep one chunk; raises BlobInvalid where its size or SHA-256 isn't the manifest's."""
        ...

    def finish(self) -> None:
        """Make the blob visible to `has`, durably; raises BlobMissing while chunks are missing."""
        ...


class BlobStore(Protocol):
    """Where a site keeps blobs by hash. A blob is visible only when it is whole; safe to use from several threads."""

    def create(
        self,
        kind: BlobKind,
        dtype: str,
        layout: Layout,
        chunks: Iterable[Buffer],
        *,
        scale_bits: int = 0,
        chunk_elements: int = CHUNK_ELEMENTS,
    ) -> Manifest:
        """Write a blob from its chunks in order, holding one chunk at a time, durably; give its manifest.

        Raises BlobInvalid where the chunks are not those that the layout is cut into.
        """
        ...

    def receive(self, manifest: Manifest) -> Receiver:
        """Begin, or go on, receiving a blob."""
        ...

    def has(self, blob: bytes) -> bool:
        """Whether the whole blob is here."""
        ...

    def manifest(self, blob: bytes) -> Manifest:
        """The manifest of a whole blob; raises BlobMissing."""
        ...

    def read_chunk(self, blob: bytes, index: int) -> bytes:
        """One chunk of a whole blob; raises BlobMissing, or BlobInvalid where there's no such chunk."""
        ...

    def delete(self, blob: bytes) -> None:
        """Forget a blob, whole or partly received; nothing happens where it isn't here."""
        ...

    def blobs(self) -> list[bytes]:
        """Every whole blob, sorted."""
        ...

    def size(self) -> int:
        """Bytes of the vectors of all whole blobs."""
        ...


def check_blob(blob: bytes) -> bytes:
    """Give back the identity of a blob; raises BlobInvalid where it isn't 32 bytes."""
    if not isinstance(blob, bytes) or len(blob) != BLOB_BYTES:
        raise BlobInvalid(f"a blob's identity is {BLOB_BYTES} bytes, not {blob!r}")
    return blob


def check_chunk(manifest: Manifest, index: int, data: Buffer) -> memoryview:
    """Give a chunk's bytes as they came; raises BlobInvalid where size or SHA-256 isn't the manifest's."""
    view = memoryview(data).cast("B")
    if view.nbytes != manifest.chunk_size(index):
        raise BlobInvalid(f"chunk {index} has {view.nbytes} bytes instead of {manifest.chunk_size(index)}")
    if hashlib.sha256(view).digest() != manifest.chunks[index]:
        raise BlobInvalid(f"chunk {index} does not have the SHA-256 that its manifest states")
    return view


def write_chunks(
    kind: BlobKind,
    dtype: str,
    layout: Layout,
    chunks: Iterable[Buffer],
    sink: Callable[[memoryview], object],
    *,
    scale_bits: int = 0,
    chunk_elements: int = CHUNK_ELEMENTS,
) -> Manifest:
    """Hash the chunks of a blob while handing each one to `sink`, and give the manifest; raises BlobInvalid."""
    left, step = vector_bytes(dtype, layout), chunk_bytes(dtype, chunk_elements)
    digests: list[bytes] = []
    for chunk in chunks:
        view = memoryview(chunk).cast("B")
        if view.nbytes != min(left, step) or not left:
            raise BlobInvalid(f"chunk {len(digests)} has {view.nbytes} bytes instead of {min(left, step)}")
        left -= view.nbytes
        digests.append(hashlib.sha256(view).digest())
        sink(view)
    manifest = Manifest(kind, dtype, scale_bits, chunk_elements, layout, tuple(digests))
    if len(manifest.encode()) > MAX_MANIFEST_BYTES:
        raise BlobInvalid(f"manifest: more than {MAX_MANIFEST_BYTES} bytes")
    return manifest


def damaged_chunks(store: BlobStore, blob: bytes) -> list[int]:
    """Re-hash a whole blob and name the chunks that the storage has damaged; raises BlobMissing."""
    manifest = store.manifest(blob)

    def is_damaged(index: int) -> bool:
        try:
            check_chunk(manifest, index, store.read_chunk(blob, index))
        except BlobInvalid:
            return True
        return False

    return [index for index in range(len(manifest.chunks)) if is_damaged(index)]
