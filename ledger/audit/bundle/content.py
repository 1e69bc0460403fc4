"""What a bundle holds, as a value."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NoReturn

from ledger.audit.proof.body import Body
from ledger.deployment import Deployment
from ledger.errors import BundleInvalid
from swarm.blobs import Buffer, Receiver, check_chunk, write_chunks
from swarm.errors import BlobInvalid, BlobMissing
from swarm.manifest import CHUNK_ELEMENTS, BlobKind, Layout, Manifest

ReadChunk = Callable[[bytes], bytes]


def _nothing(digest: bytes) -> bytes:
    raise BlobMissing(f"chunk {digest.hex()} isn't in the bundle")


@dataclass(frozen=True)
class Bundle:
    """One study's history with what proves it.

    `headers` are those of all blocks from the deployment's on, raw; `bodies` the blocks that may hold events of ours,
    or that created the contracts. `manifests` are by the name that the bundle gives them, `chunks` names those that
    `read_chunk` gives: none of these names is to be believed before it was checked.
    """

    deployment: Deployment
    study: int
    headers: tuple[bytes, ...]
    bodies: tuple[Body, ...]
    manifests: Mapping[bytes, bytes] = field(default_factory=dict)
    chunks: frozenset[bytes] = frozenset()
    read_chunk: ReadChunk = _nothing


class BundleStore:
    """The blobs of a bundle, checked: a store that can only be read. What is made in it is hashed and forgotten."""

    def __init__(self, bundle: Bundle) -> None:
        """Check every manifest and every chunk against its name; `problems` says what isn't what it is called."""
        self._read = bundle.read_chunk
        self.problems: list[str] = []
        self._chunks = frozenset(digest for digest in sorted(bundle.chunks) if self._is_chunk(digest))
        self._manifests: dict[bytes, Manifest] = {}
        for blob, raw in bundle.manifests.items():
            self._keep(blob, raw)

    def _keep(self, blob: bytes, raw: bytes) -> None:
        try:
            manifest = Manifest.decode(raw)
        except BlobInvalid as error:
            self.problems.append(f"manifest {blob.hex()}: {error}")
            return
        if manifest.blob != blob:
            self.problems.append(f"manifest {blob.hex()} is the one of {manifest.blob.hex()}")
        else:
            self._manifests[blob] = manifest

    def _is_chunk(self, digest: bytes) -> bool:
        try:
            good = sha256(self._read(digest)).digest() == digest
        except (BlobMissing, BundleInvalid) as error:
            self.problems.append(str(error))
            return False
        if not good:
            self.problems.append(f"chunk {digest.hex()} has other bytes than those of its hash")
        return good

    @property
    def manifests(self) -> Mapping[bytes, Manifest]:
        """The manifests that are what they are called."""
        return self._manifests

    def has(self, blob: bytes) -> bool:
        """Whether the whole blob is here."""
        manifest = self._manifests.get(blob)
        return manifest is not None and all(chunk in self._chunks for chunk in manifest.chunks)

    def manifest(self, blob: bytes) -> Manifest:
        """The manifest of a blob, whole or not; raises BlobMissing."""
        if blob not in self._manifests:
            raise BlobMissing(f"blob {blob.hex()} isn't in the bundle")
        return self._manifests[blob]

    def read_chunk(self, blob: bytes, index: int) -> bytes:
        """One chunk; raises BlobMissing, or BlobInvalid where there's no such chunk."""
        manifest = self.manifest(blob)
        manifest.chunk_size(index)
        if manifest.chunks[index] not in self._chunks:
            raise BlobMissing(f"chunk {index} of blob {blob.hex()} isn't in the bundle")
        return bytes(check_chunk(manifest, index, self._read(manifest.chunks[index])))

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
        """Give the manifest that a blob would have; raises BlobInvalid."""
        return write_chunks(
            kind, dtype, layout, chunks, lambda _: None, scale_bits=scale_bits, chunk_elements=chunk_elements
        )

    def receive(self, manifest: Manifest) -> Receiver:
        """Refuse: nothing is added to a bundle."""
        self._refuse()

    def delete(self, blob: bytes) -> None:
        """Refuse: nothing is taken out of a bundle."""
        self._refuse()

    def blobs(self) -> list[bytes]:
        """Every whole blob, sorted."""
        return sorted(blob for blob in self._manifests if self.has(blob))

    def size(self) -> int:
        """Bytes of the vectors of all whole blobs."""
        return sum(self._manifests[blob].size for blob in self.blobs())

    @staticmethod
    def _refuse() -> NoReturn:
        raise BlobInvalid("a bundle can only be read")
