"""A store for network tests: plain memory, so that they depend on nothing but the port."""

import hashlib
import threading
from collections.abc import Iterable

from swarm.blobs import Receiver
from swarm.errors import BlobInvalid, BlobMissing
from swarm.manifest import BlobKind, Layout, Manifest


class DictStore:
    """Blobs in dictionaries; partial blobs are kept, so that a pull can go on. Safe to use from several threads."""

    def __init__(self) -> None:
        self.chunks: dict[bytes, dict[int, bytes]] = {}
        self.manifests: dict[bytes, Manifest] = {}
        self.whole: set[bytes] = set()
        self.lock = threading.Lock()

    def create(
        self, kind: BlobKind, dtype: str, layout: Layout, chunks: Iterable[bytes | memoryview], *, scale_bits: int = 0
    ) -> Manifest:
        kept = [bytes(chunk) for chunk in chunks]
        elements = max(1, len(kept[0]) // {"float32": 4, "int32": 4, "int64": 8, "int16": 2}[dtype])
        digests = tuple(hashlib.sha256(chunk).digest() for chunk in kept)
        return self.add(Manifest(kind, dtype, scale_bits, elements, layout, digests), kept)

    def add(self, manifest: Manifest, chunks: list[bytes]) -> Manifest:
        """Keep whatever is given, right or wrong."""
        self.manifests[manifest.blob] = manifest
        self.chunks[manifest.blob] = dict(enumerate(chunks))
        self.whole.add(manifest.blob)
        return manifest

    def receive(self, manifest: Manifest) -> Receiver:
        self.manifests[manifest.blob] = manifest
        self.chunks.setdefault(manifest.blob, {})
        return _Receiving(self, manifest)

    def has(self, blob: bytes) -> bool:
        return blob in self.whole

    def manifest(self, blob: bytes) -> Manifest:
        if blob not in self.whole:
            raise BlobMissing(f"no blob {blob.hex()}")
        return self.manifests[blob]

    def read_chunk(self, blob: bytes, index: int) -> bytes:
        self.manifest(blob).chunk_size(index)
        return self.chunks[blob][index]

    def delete(self, blob: bytes) -> None:
        self.whole.discard(blob)
        self.chunks.pop(blob, None)

    def blobs(self) -> list[bytes]:
        return sorted(self.whole)


class _Receiving:
    def __init__(self, store: DictStore, manifest: Manifest) -> None:
        self.store = store
        self.wanted = manifest
        self.blob = manifest.blob

    def missing(self) -> list[int]:
        return [i for i in range(len(self.wanted.chunks)) if i not in self.store.chunks[self.blob]]

    def write(self, index: int, data: bytes | memoryview) -> None:
        if len(data) != self.wanted.chunk_size(index):
            raise BlobInvalid(f"chunk {index}: wrong size")
        if hashlib.sha256(data).digest() != self.wanted.chunks[index]:
            raise BlobInvalid(f"chunk {index}: wrong bytes")
        self.store.chunks[self.blob][index] = bytes(data)

    def finish(self) -> None:
        if self.missing():
            raise BlobMissing(f"blob {self.blob.hex()}: chunks are missing")
        self.store.whole.add(self.blob)
