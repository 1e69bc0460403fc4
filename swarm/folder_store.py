"""Blobs in a folder on disk: durable, shared by threads and processes.

<root>/<hex>/manifest.json, data      a whole blob; it got its name by one rename
<root>/.part-<hex>/...                a blob that is being received; chunk i lies at its offset in data
<root>/.new-<random>/...              a blob that is being written here
<root>/.old-<random>/...              a blob that is being deleted
<root>/.lock                          held shared by whoever writes or deletes, so that litter is known as litter
"""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Lock

from swarm.blobs import Buffer, check_blob, check_chunk, write_chunks
from swarm.errors import BlobInvalid, BlobMissing
from swarm.manifest import CHUNK_ELEMENTS, BlobKind, Layout, Manifest

_MANIFEST = "manifest.json"
_DATA = "data"
_CACHED_MANIFESTS = 64


class FolderStore:
    """A BlobStore in a folder. Every name in it derives from a hash or from us, so no input can name a path.

    `durable=False` leaves out the waits for the disk: for simulations, whose files nobody needs after a power cut.
    """

    def __init__(self, path: str | os.PathLike[str], *, durable: bool = True) -> None:
        self.path = Path(path)
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._durable = durable
        self._lock = Lock()
        self._manifests: dict[bytes, Manifest] = {}
        self._remove_litter()

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
        """Write a blob from its chunks in order, holding one chunk at a time, durably; raises BlobInvalid."""
        with self._writing(), self._fresh_folder() as folder:
            with open(folder / _DATA, "xb", buffering=0) as file:
                sink = partial(_write_all, file.fileno())
                manifest = write_chunks(
                    kind, dtype, layout, chunks, sink, scale_bits=scale_bits, chunk_elements=chunk_elements
                )
                self._sync(file.fileno())
            self._write_manifest(folder, manifest)
            self._publish(folder, manifest.blob)
        return manifest

    def receive(self, manifest: Manifest) -> "FolderReceiver":
        """Begin, or go on, receiving a blob; what an earlier receiver left is hashed again before it counts."""
        return FolderReceiver(self, manifest)

    def has(self, blob: bytes) -> bool:
        """Whether the whole blob is here."""
        return (self._folder(blob) / _MANIFEST).exists()

    def manifest(self, blob: bytes) -> Manifest:
        """The manifest of a whole blob; raises BlobMissing, or BlobInvalid where the disk has damaged it."""
        folder = self._folder(blob)
        known = self._manifests.get(blob)
        if known is not None and folder.exists():
            return known
        try:
            data = (folder / _MANIFEST).read_bytes()
        except FileNotFoundError:
            raise BlobMissing(f"blob {blob.hex()} is not in {self.path}") from None
        manifest = Manifest.decode(data)
        if manifest.blob != blob:
            raise BlobInvalid(f"blob {blob.hex()} in {self.path} is damaged: its manifest has another hash")
        with self._lock:
            while len(self._manifests) >= _CACHED_MANIFESTS:
                self._manifests.pop(next(iter(self._manifests)))
            self._manifests[blob] = manifest
        return manifest

    def read_chunk(self, blob: bytes, index: int) -> bytes:
        """One chunk of a whole blob; raises BlobMissing, or BlobInvalid where there's no such chunk."""
        manifest = self.manifest(blob)
        size = manifest.chunk_size(index)
        try:
            fd = os.open(self._folder(blob) / _DATA, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise BlobMissing(f"blob {blob.hex()} is not in {self.path} any more") from None
        try:
            data = _read_at(fd, size, manifest.chunk_offset(index))
        finally:
            os.close(fd)
        if len(data) != size:
            raise BlobInvalid(f"blob {blob.hex()} in {self.path} is damaged: chunk {index} is cut short")
        return data

    def delete(self, blob: bytes) -> None:
        """Forget a blob, whole or partly received; nothing happens where it isn't here."""
        with self._writing():
            for folder in (self._folder(blob), self._partial(blob)):
                grave = self.path / f".old-{secrets.token_hex(8)}"
                with suppress(FileNotFoundError):
                    folder.rename(grave)
                    shutil.rmtree(grave)
        with self._lock:
            self._manifests.pop(blob, None)

    def blobs(self) -> list[bytes]:
        """Every whole blob, sorted."""
        return sorted(blob for blob in map(_blob_of, os.listdir(self.path)) if blob is not None and self.has(blob))

    def size(self) -> int:
        """Bytes of the vectors of all whole blobs."""
        total = 0
        for blob in self.blobs():
            with suppress(BlobMissing):
                total += self.manifest(blob).size
        return total

    def _folder(self, blob: bytes) -> Path:
        return self.path / check_blob(blob).hex()

    def _partial(self, blob: bytes) -> Path:
        return self.path / f".part-{check_blob(blob).hex()}"

    @contextmanager
    def _fresh_folder(self) -> Iterator[Path]:
        folder = self.path / f".new-{secrets.token_hex(8)}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _write_manifest(self, folder: Path, manifest: Manifest) -> None:
        with open(folder / _MANIFEST, "wb", buffering=0) as file:
            _write_all(file.fileno(), memoryview(manifest.encode()))
            self._sync(file.fileno())
        self._sync_folder(folder)

    def _publish(self, folder: Path, blob: bytes) -> None:
        try:
            folder.rename(self._folder(blob))
        except OSError:
            if not self.has(blob):
                raise
            shutil.rmtree(folder, ignore_errors=True)  # another writer was first: the bytes are the same
        self._sync_folder(self.path)

    def _sync(self, fd: int) -> None:
        if self._durable:
            os.fsync(fd)

    def _sync_folder(self, folder: Path) -> None:
        if not self._durable:
            return
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    @contextmanager
    def _writing(self, how: int = fcntl.LOCK_SH) -> Iterator[None]:
        fd = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, how)
            yield
        finally:
            os.close(fd)

    def _remove_litter(self) -> None:
        """Remove what killed writers left, unless somebody is writing right now: then the next start does it."""
        if not os.access(self.path, os.W_OK):
            return
        with suppress(BlockingIOError), self._writing(fcntl.LOCK_EX | fcntl.LOCK_NB):
            for name in os.listdir(self.path):
                if name.startswith((".new-", ".old-")):
                    shutil.rmtree(self.path / name)


class FolderReceiver:
    """A blob that a FolderStore is receiving; several receivers of one blob write the same bytes."""

    def __init__(self, store: FolderStore, manifest: Manifest) -> None:
        self.manifest = manifest
        self._store = store
        self._blob = manifest.blob
        self._lock = Lock()
        self._folder = store._partial(self._blob)
        self._missing = set() if store.has(self._blob) else self._open()

    def missing(self) -> list[int]:
        """Chunks that are not here yet, ascending."""
        with self._lock:
            return sorted(self._missing)

    def write(self, index: int, data: Buffer) -> None:
        """Keep one chunk; raises BlobInvalid where its size or SHA-256 isn't the manifest's."""
        view = check_chunk(self.manifest, index, data)
        if index in self._missing and (fd := self._open_data()) is not None:
            try:
                _write_all(fd, view, self.manifest.chunk_offset(index))
            finally:
                os.close(fd)
        with self._lock:
            self._missing.discard(index)

    def finish(self) -> None:
        """Make the blob visible to `has`, durably; raises BlobMissing while chunks are missing."""
        if missing := self.missing():
            raise BlobMissing(f"blob {self._blob.hex()} still misses {len(missing)} chunks, the first is {missing[0]}")
        with self._store._writing():
            fd = self._open_data()
            if fd is None:
                return
            try:
                self._store._sync(fd)
            finally:
                os.close(fd)
            try:
                self._store._write_manifest(self._folder, self.manifest)
            except FileNotFoundError:
                if not self._store.has(self._blob):
                    raise
                return
            self._store._publish(self._folder, self._blob)

    def _open(self) -> set[int]:
        """Make the partial folder, or hash again what is in it; give the missing chunks."""
        self._folder.mkdir(exist_ok=True)
        count = len(self.manifest.chunks)
        fd = os.open(self._folder / _DATA, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            here = os.fstat(fd).st_size
            return {index for index in range(count) if not self._is_here(fd, here, index)}
        finally:
            os.close(fd)

    def _is_here(self, fd: int, here: int, index: int) -> bool:
        offset, size = self.manifest.chunk_offset(index), self.manifest.chunk_size(index)
        if offset + size > here:
            return False
        with suppress(BlobInvalid):
            check_chunk(self.manifest, index, _read_at(fd, size, offset))
            return True
        return False

    def _open_data(self) -> int | None:
        """Open the data being received; None where another receiver has finished the blob, whole, in the meantime."""
        try:
            return os.open(self._folder / _DATA, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            if self._store.has(self._blob):
                return None
            raise BlobMissing(f"blob {self._blob.hex()} was deleted while it was being received") from None


def _blob_of(name: str) -> bytes | None:
    """The blob that a folder's name stands for, None for any other name."""
    if len(name) != 64 or name.startswith("."):
        return None
    try:
        blob = bytes.fromhex(name)
    except ValueError:
        return None
    return blob if blob.hex() == name else None


def _read_at(fd: int, size: int, offset: int) -> bytes:
    """Read up to `size` bytes; fewer only at the end of the file."""
    data = os.pread(fd, size, offset)
    while len(data) < size:
        more = os.pread(fd, size - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def _write_all(fd: int, view: memoryview, offset: int | None = None) -> None:
    """Write all of it, at `offset` or where the file stands."""
    done = 0
    while done < view.nbytes:
        part = view[done:]
        done += os.write(fd, part) if offset is None else os.pwrite(fd, part, offset + done)
