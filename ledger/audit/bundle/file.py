"""The bundle as a file: a ZIP archive, written always alike, and read as what a stranger may have made.

    bundle.json          the deployment, the study, and how many headers and bodies there are
    headers, bodies      records: four bytes of length, then the bytes; headers raw, bodies as RLP
    manifests/HASH       manifests of blobs, by the blob
    chunks/HASH          chunks of blobs, by their SHA-256

Nothing is ever unpacked to a disk, so that no name is a path; every size is bounded before it is read, whatever the
archive claims. The same content gives the same bytes (where the same zlib writes them), and the same digest anywhere.
"""

import hashlib
import json
import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from ledger.audit.bundle.content import Bundle
from ledger.audit.proof.body import Body
from ledger.audit.proof.coding import decode, encode, number, unsigned
from ledger.audit.proof.header import MAX_HEADER_BYTES
from ledger.deployment import Deployment
from ledger.errors import BundleInvalid, DeploymentInvalid
from swarm.manifest import MAX_MANIFEST_BYTES
from swarm.nesting import check_nesting

VERSION: Final = 1
MAX_CHUNK_BYTES: Final = 8 << 20
MAX_BODY_BYTES: Final = 64 << 20
MAX_SECTION_BYTES: Final = 2 << 30
MAX_ENTRIES: Final = 1_000_000
_MAX_INDEX_BYTES: Final = 1 << 16
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_NAME: Final = re.compile(r"bundle\.json|headers|bodies|(manifests|chunks)/[0-9a-f]{64}")
_LENGTH: Final = 4
_DAMAGED: Final = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, RuntimeError, ValueError)


def write_bundle(bundle: Bundle, path: Path) -> str:
    """Write a bundle's file, all at once; gives its digest."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with zipfile.ZipFile(draft, "w") as archive:
            for name, content in _entries(bundle):
                _write(archive, name, content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return digest_of(bundle)


def digest_of(bundle: Bundle) -> str:
    """Give the digest of a bundle's content, which names it whatever packed it."""
    total = hashlib.sha256()
    for name, content in _entries(bundle):
        inner = hashlib.sha256()
        for part in content:
            inner.update(part)
        total.update(name.encode() + b"\0" + inner.digest())
    return total.hexdigest()


def _entries(bundle: Bundle) -> Iterator[tuple[str, Iterable[bytes]]]:
    index = {
        "version": VERSION,
        "deployment": json.loads(bundle.deployment.to_json()),
        "study": bundle.study,
        "headers": len(bundle.headers),
        "bodies": len(bundle.bodies),
    }
    yield "bundle.json", [json.dumps(index, sort_keys=True, indent=1).encode()]
    yield "headers", (_record(header) for header in bundle.headers)
    yield "bodies", (_record(_body_bytes(body)) for body in bundle.bodies)
    for blob, raw in sorted(bundle.manifests.items()):
        yield f"manifests/{blob.hex()}", [raw]
    for digest in sorted(bundle.chunks):
        yield f"chunks/{digest.hex()}", (bundle.read_chunk(one) for one in [digest])


def _write(archive: zipfile.ZipFile, name: str, content: Iterable[bytes]) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_STORED if name.startswith("chunks/") else zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    info.create_system = 3
    with archive.open(info, "w", force_zip64=name in ("headers", "bodies")) as entry:
        for part in content:
            entry.write(part)


def _record(raw: bytes) -> bytes:
    return len(raw).to_bytes(_LENGTH, "big") + raw


def _body_bytes(body: Body) -> bytes:
    return encode([unsigned(body.number), list(body.transactions), list(body.receipts)])


@contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """Read a bundle's file; its chunks are read when they are asked for, while this is open. Raises BundleInvalid."""
    try:
        archive = zipfile.ZipFile(path)
    except OSError as error:
        raise BundleInvalid(f"{path} can't be read: {error.strerror}") from None
    except _DAMAGED as error:
        raise BundleInvalid(f"{path} is no bundle: {error}") from None
    with archive:
        yield _read(archive)


def _read(archive: zipfile.ZipFile) -> Bundle:
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if len(entries) > MAX_ENTRIES or len(set(names)) != len(names):
        raise BundleInvalid(f"bundle: more than {MAX_ENTRIES} entries, or two of one name")
    strange = next((name for name in names if not _NAME.fullmatch(name)), None)
    if strange is not None:
        raise BundleInvalid(f"bundle: an entry is called {strange[:80]!r}, which has no place in a bundle")
    index = _index(_take(archive, "bundle.json", _MAX_INDEX_BYTES))
    headers = tuple(_records(archive, "headers", MAX_HEADER_BYTES))
    bodies = tuple(_body(raw) for raw in _records(archive, "bodies", MAX_BODY_BYTES))
    if (index["headers"], index["bodies"]) != (len(headers), len(bodies)):
        raise BundleInvalid("bundle: it holds another number of headers or bodies than it says")
    manifests = {
        _hash(name): _take(archive, name, MAX_MANIFEST_BYTES) for name in names if name.startswith("manifests/")
    }
    chunks = frozenset(_hash(name) for name in names if name.startswith("chunks/"))
    chunk = partial(_chunk, archive)
    return Bundle(index["deployment"], index["study"], headers, bodies, manifests, chunks, chunk)


def _hash(name: str) -> bytes:
    return bytes.fromhex(name.rpartition("/")[2])


def _chunk(archive: zipfile.ZipFile, digest: bytes) -> bytes:
    return _take(archive, f"chunks/{digest.hex()}", MAX_CHUNK_BYTES)


def _index(raw: bytes) -> dict[str, Any]:
    try:
        record = json.loads(check_nesting(raw))
        deployment = Deployment.from_json(json.dumps(record["deployment"]))
    except (ValueError, LookupError, TypeError, RecursionError, DeploymentInvalid) as error:
        raise BundleInvalid(f"bundle.json: {error}") from None
    if record.get("version") != VERSION:
        raise BundleInvalid(f"the bundle is of version {str(record.get('version'))[:20]}; this program reads {VERSION}")
    numbers = {name: record.get(name) for name in ("study", "headers", "bodies")}
    if any(type(value) is not int or not 0 <= value < 1 << 63 for value in numbers.values()):
        raise BundleInvalid("bundle.json: study, headers and bodies are whole numbers")
    return {"deployment": deployment, **numbers}


def _take(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """Read one entry, of at most so many bytes."""
    try:
        with archive.open(name) as entry:
            raw = entry.read(most + 1)
    except KeyError:
        raise BundleInvalid(f"bundle: {name} is missing") from None
    except _DAMAGED as error:
        raise BundleInvalid(f"bundle: {name} is damaged: {error}") from None
    if len(raw) > most:
        raise BundleInvalid(f"bundle: {name} has more than {most} bytes")
    return raw


def _records(archive: zipfile.ZipFile, name: str, most: int) -> Iterator[bytes]:
    """Read an entry of records, each of at most so many bytes."""
    total = 0
    try:
        with archive.open(name) as entry:
            while prefix := entry.read(_LENGTH):
                length = int.from_bytes(prefix, "big")
                total += _LENGTH + length
                if len(prefix) != _LENGTH or length > most or total > MAX_SECTION_BYTES:
                    raise BundleInvalid(f"bundle: a record of {name} is cut, or longer than {most} bytes")
                raw = entry.read(length)
                if len(raw) != length:
                    raise BundleInvalid(f"bundle: a record of {name} is cut")
                yield raw
    except KeyError:
        raise BundleInvalid(f"bundle: {name} is missing") from None
    except BundleInvalid:
        raise
    except _DAMAGED as error:
        raise BundleInvalid(f"bundle: {name} is damaged: {error}") from None


def _body(raw: bytes) -> Body:
    match decode(raw, "body"):
        case [bytes(height), list(transactions), list(receipts)]:
            if all(isinstance(one, bytes) for one in (*transactions, *receipts)):
                return Body(number(height, "body number"), tuple(transactions), tuple(receipts))
    raise BundleInvalid("bundle: a body is not one")
