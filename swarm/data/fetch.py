"""Downloads of public data sets from their true sources, each file held against its pinned size and SHA-256."""

import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from swarm.errors import DataError

TIMEOUT_SECONDS = 30.0
UCI_HEART_DISEASE = "https://archive.ics.uci.edu/ml/machine-learning-databases/heart-disease/"


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """A file as it must be."""

    name: str
    size: int
    sha256: str

    def is_at(self, path: Path) -> bool:
        """Whether this very file is there already."""
        return path.is_file() and path.stat().st_size == self.size and self.fits(path.read_bytes())

    def fits(self, data: bytes) -> bool:
        """Whether these are the file's bytes."""
        return len(data) == self.size and hashlib.sha256(data).hexdigest() == self.sha256


@dataclass(frozen=True, slots=True)
class PublicData:
    """A public data set: where its files lie, and how to credit it."""

    base_url: str
    files: tuple[PinnedFile, ...]
    credit: str


DATA_SETS = {
    "heart-disease": PublicData(
        UCI_HEART_DISEASE,
        (
            PinnedFile(
                "processed.cleveland.data", 18_461, "a74b7efa387bc9d108d7d0115d831fe9b414b29ae7124f331b622b4efa0427c8"
            ),
            PinnedFile(
                "processed.hungarian.data", 10_263, "d1ad108f785768cd3d7e82dc522e6f5a61eea93cccfb3a46ee8076f73fc3d796"
            ),
            PinnedFile(
                "processed.switzerland.data", 4_109, "834a405ccf5b66ab4056bb77794adc8df0b7125186454c0a1d002d33c6c3b314"
            ),
            PinnedFile("processed.va.data", 6_737, "e7c93d8d0d2acdadfa4c5e8de768e2191e7f618b952e29623f1f0d5949ff6b8f"),
        ),
        "Janosi, Steinbrunn, Pfisterer and Detrano (1989), UCI Machine Learning Repository, CC BY 4.0",
    )
}


def get(name: str, folder: Path, *, base_url: str | None = None) -> list[Path]:
    """Bring a data set's files into a folder and give their paths; a file that is there already isn't fetched again.

    `base_url` names a mirror; what it serves is held against the same hashes. Raises DataError for an unknown name, a
    source that can't be reached, and bytes that aren't the pinned ones: then nothing is written in their place.
    """
    if name not in DATA_SETS:
        raise DataError(f"no public data set is called {name!r}; there is: {', '.join(DATA_SETS)}")
    data = DATA_SETS[name]
    base = _checked(base_url or data.base_url)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_get(file, folder / file.name, base) for file in data.files]
    except OSError as error:
        raise DataError(f"can't write to {folder}: {error.strerror or error}") from None


def _checked(base_url: str) -> str:
    if urllib.parse.urlsplit(base_url).scheme not in ("http", "https"):
        raise DataError(f"{base_url!r} is not an http(s) address")
    return base_url.rstrip("/") + "/"


def _get(file: PinnedFile, path: Path, base: str) -> Path:
    if not file.is_at(path):
        data = _download(base + file.name, file.size)
        if not file.fits(data):
            raise DataError(
                f"{base}{file.name} gave {len(data)} bytes that are not the pinned file of {file.size} bytes"
                f" (SHA-256 {hashlib.sha256(data).hexdigest()}, expected {file.sha256}); nothing was kept"
            )
        _write_atomically(path, data)
    return path


def _download(url: str, size: int) -> bytes:
    """Read at most one byte more than the file has, so that no source can fill the memory."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310 - http(s), checked above
            data: bytes = response.read(size + 1)
            return data
    except urllib.error.HTTPError as error:
        with error:
            raise DataError(f"{url} answered {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"can't reach {url} ({reason}); on a machine without internet access,"
            " bring the files by hand and name their folder with --path"
        ) from None


def _write_atomically(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
