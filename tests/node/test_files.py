"""Small files: whole or not at all, also where the disk is full or writes little at a time."""

import os
from pathlib import Path

import pytest

from node.files import make_folder, write_atomically, write_once


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_file_is_written_with_its_folders_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(path.parent) == ["file"]


def test_a_disk_that_takes_a_few_bytes_at_a_time_gets_them_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    write_atomically(tmp_path / "file", b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_disk_that_fails_leaves_the_old_content_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_content_and_name_are_on_the_disk_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    write_atomically(tmp_path / "new" / "file", b"content")
    draft = str(tmp_path / "new" / f".file.{os.getpid()}")
    assert flushed == [str(tmp_path), draft, str(tmp_path / "new")]


def test_a_secret_is_its_owners_alone_from_the_first_byte(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    draft = tmp_path / f".secret.{os.getpid()}"
    draft.write_bytes(b"left by a killed process, for everybody to read")
    draft.chmod(0o644)
    write_atomically(path, b"content", mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_in_the_place_of_the_draft_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"kept")
    (tmp_path / f".file.{os.getpid()}").symlink_to(elsewhere)
    write_atomically(tmp_path / "file", b"content")
    assert elsewhere.read_bytes() == b"kept"


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    make_folder(tmp_path)
    make_folder(tmp_path / "x" / "y")
    assert (tmp_path / "x" / "y").is_dir()


def test_a_file_written_once_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a" / "key"
    write_once(path, b"one", mode=0o600)
    with pytest.raises(FileExistsError):
        write_once(path, b"two", mode=0o600)
    assert path.read_bytes() == b"one"
    assert path.stat().st_mode & 0o777 == 0o600
    assert names(path.parent) == ["key"]
