"""Small files written so that a crash leaves the old content or the new, never half of either."""

import os
import secrets
from pathlib import Path


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write beside, flush to disk, rename over, flush the folder; folders that are missing are made, durably."""
    make_folder(path.parent)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)  # left by a killed process that had this number, and maybe open to more readers
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    _flush(path.parent)


def write_once(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write as `write_atomically` does, but never over a file that is there; raises FileExistsError."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    write_atomically(draft, data, mode=mode)
    try:
        os.link(draft, path)  # unlike a rename, it fails where somebody else was first
    finally:
        draft.unlink()
    _flush(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, so that a power cut can't take them back."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    path.mkdir(exist_ok=True)
    _flush(path.parent)


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
