"""The in-memory twin of the folder store."""

from collections.abc import Iterable
from threading import Lock

from swarm.blobs import Buffer, check_blob, check_chunk, write_chunks
from swarm.errors import BlobMissing
from swarm.manifest import CHUNK_ELEMENTS, BlobKind, Layout, Manifest


class MemoryStore:
    """A BlobStore that forgets everything with the process: for tests and simulations."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._whole: dict[bytes, tuple[Manifest, list[bytes]]] = {}
        self._partial: dict[bytes, dict[int, bytes]] = {}

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
        """Keep a blob from its chunks in order; raises BlobInvalid."""
        kept: list[bytes] = []
        manifest = write_chunks(
            kind,
            dtype,
            layout,
            chunks,
            lambda view: kept.append(bytes(view)),
            scale_bits=scale_bits,
            chunk_elements=chunk_elements,
        )
        self._keep(manifest, kept)
        return manifest

    def receive(self, manifest: Manifest) -> "MemoryReceiver":
        """Begin, or go on, receiving a blob."""
        return MemoryReceiver(self, manifest)

    def has(self, blob: bytes) -> bool:
        """Whether the whole blob is here."""
        return check_blob(blob) in self._whole

    def manifest(self, blob: bytes) -> Manifest:
        """The manifest of a whole blob; raises BlobMissing."""
        return self._find(blob)[0]

    def read_chunk(self, blob: bytes, index: int) -> bytes:
        """One chunk of a whole blob; raises BlobMissing, or BlobInvalid where there's no such chunk."""
        manifest, chunks = self._find(blob)
        manifest.chunk_size(index)
        return chunks[index]

    def delete(self, blob: bytes) -> None:
        """Forget a blob, whole or partly received; nothing happens where it isn't here."""
        check_blob(blob)
        with self._lock:
            self._whole.pop(blob, None)
            self._partial.pop(blob, None)

    def blobs(self) -> list[bytes]:
        """Every whole blob, sorted."""
        with self._lock:
            return sorted(self._whole)

    def size(self) -> int:
        """Bytes of the vectors of all whole blobs."""
        with self._lock:
            return sum(manifest.size for manifest, _ in self._whole.values())

    def _find(self, blob: bytes) -> tuple[Manifest, list[bytes]]:
        found = self._whole.get(check_blob(blob))
        if found is None:
            raise BlobMissing(f"blob {blob.hex()} is not in this store")
        return found

    def _keep(self, manifest: Manifest, chunks: list[bytes]) -> None:
        with self._lock:
            self._whole.setdefault(manifest.blob, (manifest, chunks))
            self._partial.pop(manifest.blob, None)


class MemoryReceiver:
    """A blob that a MemoryStore is receiving."""

    def __init__(self, store: MemoryStore, manifest: Manifest) -> None:
        self.manifest = manifest
        self._store = store
        self._blob = manifest.blob
        with store._lock:
            self._chunks = {} if self._blob in store._whole else store._partial.setdefault(self._blob, {})

    def missing(self) -> list[int]:
        """Chunks that are not here yet, ascending."""
        if self._store.has(self._blob):
            return []
        return [index for index in range(len(self.manifest.chunks)) if index not in self._chunks]

    def write(self, index: int, data: Buffer) -> None:
        """Keep one chunk; raises BlobInvalid where its size or SHA-256 isn't the manifest's."""
        self._chunks[index] = bytes(check_chunk(self.manifest, index, data))

    def finish(self) -> None:
        """Make the blob visible; raises BlobMissing while chunks are missing."""
        if self._store.has(self._blob):
            return
        if missing := self.missing():
            raise BlobMissing(f"blob {self._blob.hex()} still misses {len(missing)} chunks, the first is {missing[0]}")
        self._store._keep(self.manifest, [self._chunks[index] for index in range(len(self.manifest.chunks))])
