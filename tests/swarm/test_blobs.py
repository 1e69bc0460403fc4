"""The conformance suite of blob stores, and what the folder promises beyond it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from swarm.blobs import BlobStore, Buffer, damaged_chunks
from swarm.errors import BlobInvalid, BlobMissing
from swarm.folder_store import FolderStore
from swarm.manifest import BlobKind, Manifest, TensorShape
from swarm.memory_store import MemoryStore

LAYOUT = (TensorShape("w", (10,)),)
CHUNKS = [bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 40))]
STORES: dict[str, Callable[[Path], BlobStore]] = {
    "folder": FolderStore,
    "folder-not-durable": lambda path: FolderStore(path, durable=False),
    "memory": lambda _: MemoryStore(),
}


@pytest.fixture(params=list(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    return STORES[request.param](tmp_path / "blobs")


def _create(store: BlobStore, chunks: list[bytes] = CHUNKS) -> Manifest:
    return store.create(BlobKind.UPDATE, "int32", LAYOUT, chunks, scale_bits=8, chunk_elements=4)


@pytest.fixture
def manifest() -> Manifest:
    return _create(MemoryStore())


def test_gives_back_what_was_created(store: BlobStore) -> None:
    manifest = _create(store)
    blob = manifest.blob
    assert store.has(blob)
    assert store.manifest(blob) == manifest
    assert [store.read_chunk(blob, index) for index in range(3)] == CHUNKS
    assert store.blobs() == [blob]
    assert store.size() == 40
    assert damaged_chunks(store, blob) == []


def test_creating_the_same_blob_twice_is_harmless(store: BlobStore) -> None:
    assert _create(store) == _create(store)
    assert len(store.blobs()) == 1


def test_takes_any_buffer(store: BlobStore, manifest: Manifest) -> None:
    views: list[Buffer] = [memoryview(CHUNKS[0]).cast("i"), bytearray(CHUNKS[1]), CHUNKS[2]]
    created = store.create(BlobKind.UPDATE, "int32", LAYOUT, views, scale_bits=8, chunk_elements=4)
    assert created == manifest


def test_blobs_are_sorted(store: BlobStore) -> None:
    blobs = [_create(store, [bytes([value]) * 16, CHUNKS[1], CHUNKS[2]]).blob for value in range(8)]
    assert store.blobs() == sorted(blobs)


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        CHUNKS[:2],
        [*CHUNKS, b""],
        [*CHUNKS, b"more"],
        [CHUNKS[0][:-1], *CHUNKS[1:]],
        [CHUNKS[0] + b"x", *CHUNKS[1:]],
        [b"".join(CHUNKS)],
        [b"", *CHUNKS],
    ],
)
def test_refuses_chunks_that_the_layout_does_not_have(store: BlobStore, chunks: list[bytes]) -> None:
    with pytest.raises(BlobInvalid):
        _create(store, chunks)
    assert store.blobs() == []


def test_a_failure_in_the_middle_leaves_nothing(store: BlobStore, tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield CHUNKS[0]
        raise RuntimeError("the training died")

    with pytest.raises(RuntimeError):
        store.create(BlobKind.UPDATE, "int32", LAYOUT, chunks(), scale_bits=8, chunk_elements=4)
    assert store.blobs() == []
    assert [path for path in tmp_path.rglob("*") if path.name == "data"] == []


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 1, 2, 0, 1)])
def test_receives_in_any_order(store: BlobStore, manifest: Manifest, order: tuple[int, ...]) -> None:
    receiver = store.receive(manifest)
    for index in order:
        assert not store.has(manifest.blob)
        receiver.write(index, CHUNKS[index])
    assert receiver.missing() == []
    receiver.finish()
    assert store.has(manifest.blob)
    assert [store.read_chunk(manifest.blob, index) for index in range(3)] == CHUNKS


def test_resumes_where_an_earlier_receiver_was_cut(store: BlobStore, manifest: Manifest) -> None:
    store.receive(manifest).write(1, CHUNKS[1])
    receiver = store.receive(manifest)
    assert receiver.missing() == [0, 2]
    with pytest.raises(BlobMissing, match="2 chunks"):
        receiver.finish()
    assert not store.has(manifest.blob)
    assert store.blobs() == []


def test_refuses_a_wrong_chunk_and_keeps_what_it_had(store: BlobStore, manifest: Manifest) -> None:
    receiver = store.receive(manifest)
    receiver.write(0, CHUNKS[0])
    for index, data in [
        (0, CHUNKS[1]),
        (1, CHUNKS[1][:-1]),
        (1, CHUNKS[1] + b"x"),
        (1, b""),
        (3, b""),
        (-1, CHUNKS[2]),
    ]:
        with pytest.raises(BlobInvalid):
            receiver.write(index, data)
    assert receiver.missing() == [1, 2]


def test_receiving_what_is_here_is_done_at_once(store: BlobStore) -> None:
    manifest = _create(store)
    receiver = store.receive(manifest)
    assert receiver.missing() == []
    receiver.write(0, CHUNKS[0])
    receiver.finish()
    assert store.blobs() == [manifest.blob]


def test_two_receivers_of_one_blob(store: BlobStore, manifest: Manifest) -> None:
    first, second = store.receive(manifest), store.receive(manifest)
    for index, chunk in enumerate(CHUNKS):
        first.write(index, chunk)
        second.write(index, chunk)
    first.finish()
    second.write(0, CHUNKS[0])
    second.finish()
    assert store.blobs() == [manifest.blob]


def test_one_receiver_from_several_threads(store: BlobStore) -> None:
    layout = (TensorShape("w", (64,)),)
    chunks = [bytes([value]) * 16 for value in range(16)]
    manifest = MemoryStore().create(BlobKind.UPDATE, "int32", layout, chunks, chunk_elements=4)
    receiver = store.receive(manifest)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(receiver.write, range(16), chunks))
    receiver.finish()
    assert damaged_chunks(store, manifest.blob) == []


def test_many_writers_of_one_blob(store: BlobStore, manifest: Manifest) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: _create(store), range(8))) == {manifest}
    assert store.blobs() == [manifest.blob]


def test_forgets(store: BlobStore) -> None:
    blob = _create(store).blob
    store.delete(blob)
    store.delete(blob)
    assert not store.has(blob)
    assert store.blobs() == []
    for read in (store.manifest, lambda blob: store.read_chunk(blob, 0)):
        with pytest.raises(BlobMissing, match=blob.hex()):
            read(blob)


def test_deletes_what_was_received_in_part(store: BlobStore, manifest: Manifest) -> None:
    store.receive(manifest).write(0, CHUNKS[0])
    store.delete(manifest.blob)
    assert store.receive(manifest).missing() == [0, 1, 2]


def test_no_such_chunk(store: BlobStore) -> None:
    blob = _create(store).blob
    for index in (-1, 3):
        with pytest.raises(BlobInvalid, match="no chunk"):
            store.read_chunk(blob, index)


def test_a_manifest_has_at_most_a_mebibyte(store: BlobStore) -> None:
    layout = tuple(TensorShape(f"{index:0256}", (1,)) for index in range(4000))
    with pytest.raises(BlobInvalid, match="1048576 bytes"):
        store.create(BlobKind.UPDATE, "int32", layout, [bytes(16_000)])
    assert store.blobs() == []


@pytest.mark.parametrize("blob", [b"", b"x" * 31, "../../../etc/passwd", b"../" * 11])
def test_an_identity_is_32_bytes(store: BlobStore, blob: bytes) -> None:
    for call in (store.has, store.manifest, store.delete, lambda blob: store.read_chunk(blob, 0)):
        with pytest.raises(BlobInvalid):
            call(blob)


# -- the folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


def test_a_folder_outlives_its_process(path: Path) -> None:
    blob = _create(FolderStore(path)).blob
    assert FolderStore(path).read_chunk(blob, 1) == CHUNKS[1]


def test_a_folder_is_its_owners_alone(path: Path) -> None:
    FolderStore(path)
    assert path.stat().st_mode & 0o077 == 0


def test_a_chunk_that_was_written_in_part_is_received_again(path: Path, manifest: Manifest) -> None:
    receiver = FolderStore(path).receive(manifest)
    receiver.write(1, CHUNKS[1])
    receiver.write(2, CHUNKS[2])
    data = path / f".part-{manifest.blob.hex()}" / "data"
    data.write_bytes(data.read_bytes()[:-3])
    assert FolderStore(path).receive(manifest).missing() == [0, 2]


def test_a_blob_deleted_while_it_is_received_is_missing(path: Path, manifest: Manifest) -> None:
    receiver = FolderStore(path).receive(manifest)
    FolderStore(path).delete(manifest.blob)
    with pytest.raises(BlobMissing, match="deleted while"):
        receiver.write(0, CHUNKS[0])


def test_more_manifests_than_are_remembered(path: Path) -> None:
    store = FolderStore(path, durable=False)
    manifests = [_create(store, [bytes([value]) * 16, CHUNKS[1], CHUNKS[2]]) for value in range(100)]
    assert [store.manifest(manifest.blob) for manifest in manifests] == manifests
    assert store.size() == 4000


def test_two_stores_on_one_folder(path: Path) -> None:
    writer, reader = FolderStore(path), FolderStore(path)
    blob = _create(writer).blob
    assert reader.read_chunk(blob, 0) == CHUNKS[0]
    writer.delete(blob)
    with pytest.raises(BlobMissing):
        reader.read_chunk(blob, 0)
    assert not reader.has(blob)


def test_damage_on_disk_is_seen(path: Path) -> None:
    store = FolderStore(path)
    blob = _create(store).blob
    data = path / blob.hex() / "data"
    data.write_bytes(b"!" + data.read_bytes()[1:-1])
    assert damaged_chunks(store, blob) == [0, 2]
    with pytest.raises(BlobInvalid, match="cut short"):
        store.read_chunk(blob, 2)


def test_a_manifest_of_another_blob_is_seen(path: Path, manifest: Manifest) -> None:
    store = FolderStore(path)
    blob = _create(store).blob
    other = MemoryStore().create(BlobKind.MODEL, "float32", LAYOUT, CHUNKS, chunk_elements=4)
    (path / blob.hex() / "manifest.json").write_bytes(other.encode())
    with pytest.raises(BlobInvalid, match="damaged"):
        FolderStore(path).manifest(blob)


def test_foreign_files_are_no_blobs(path: Path) -> None:
    store = FolderStore(path)
    for name in ("notes.txt", "0" * 64, "Z" * 64, "AB" * 32):
        (path / name).mkdir()
    assert store.blobs() == []


KILLED = """
import os, signal, sys
from swarm.folder_store import FolderStore
from swarm.manifest import BlobKind, TensorShape

def chunks():
    yield bytes(16)
    os.kill(os.getpid(), signal.SIGKILL)

FolderStore(sys.argv[1]).create(BlobKind.UPDATE, "int32", (TensorShape("w", (10,)),), chunks(), chunk_elements=4)
"""


@pytest.mark.slow
def test_a_writer_killed_in_the_middle_leaves_nothing(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    assert [name for name in os.listdir(path) if name.startswith(".new-")]
    store = FolderStore(path)
    assert store.blobs() == []
    assert os.listdir(path) == [".lock"]


WRITES = """
import sys
from swarm.folder_store import FolderStore
from swarm.manifest import BlobKind, TensorShape

for value in range(20):
    store = FolderStore(sys.argv[1], durable=False)
    chunks = [bytes([value]) * 16, bytes([value]) * 16, bytes(8)]
    store.create(BlobKind.UPDATE, "int32", (TensorShape("w", (10,)),), chunks, chunk_elements=4)
"""


@pytest.mark.slow
def test_several_processes_write_the_same_blobs(path: Path) -> None:
    command = [sys.executable, "-c", WRITES, str(path)]
    processes = [subprocess.Popen(command, cwd=Path(__file__).parents[2]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    store = FolderStore(path)
    assert len(store.blobs()) == 20
    assert not any(damaged_chunks(store, blob) for blob in store.blobs())
    assert sorted(os.listdir(path)) == [".lock", *(blob.hex() for blob in store.blobs())]


def test_starting_while_another_writes_leaves_its_work_alone(path: Path, manifest: Manifest) -> None:
    store = FolderStore(path)

    def chunks() -> Iterator[bytes]:
        yield CHUNKS[0]
        FolderStore(path)
        yield from CHUNKS[1:]

    created = store.create(BlobKind.UPDATE, "int32", LAYOUT, chunks(), scale_bits=8, chunk_elements=4)
    assert created == manifest
    assert store.blobs() == [manifest.blob]
