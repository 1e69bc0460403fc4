"""The store of content-addressed blobs: one port, a folder on disk and an in-memory twin."""

from collections.abc import Iterable
from typing import Protocol

from swarm.manifest import BlobKind, Layout, Manifest


class Receiver(Protocol):
    """A blob that is being received, chunk by chunk, in any order; it resumes where an earlier one was cut."""

    def missing(self) -> list[int]:
        """Chunks that are not here yet, ascending."""
        ...

    def write(self, index: int, data: bytes | memoryview) -> None:
        """Keep one chunk; raises BlobInvalid where its size or SHA-256 isn't the manifest's."""
        ...

    def finish(self) -> None:
        """Make the blob visible to `has`, durably; raises BlobMissing while chunks are missing."""
        ...


class BlobStore(Protocol):
    """Where a site keeps blobs by hash. A blob is visible only when it is whole; safe to use from several threads."""

    def create(
        self, kind: BlobKind, dtype: str, layout: Layout, chunks: Iterable[bytes | memoryview], *, scale_bits: int = 0
    ) -> Manifest:
        """Write a blob from its chunks in order, holding one chunk at a time, durably; give its manifest."""
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
        """Forget a blob; nothing happens where it isn't here."""
        ...

    def blobs(self) -> list[bytes]:
        """Every whole blob, sorted."""
        ...
