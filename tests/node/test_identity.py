"""The keystore: one key, encrypted at rest, never overwritten."""

import json
import stat
from pathlib import Path

import pytest

from node import identity
from node.errors import IdentityError

PASSWORD = "correct horse battery"
QUICK = 2


@pytest.fixture
def keystore(tmp_path: Path) -> Path:
    path = tmp_path / "keystore.json"
    identity.create(path, PASSWORD, scrypt_rounds=QUICK)
    return path


def test_a_key_comes_back_with_its_password(tmp_path: Path) -> None:
    path = tmp_path / "keystore.json"
    made = identity.create(path, PASSWORD, scrypt_rounds=QUICK)
    assert identity.load(path, PASSWORD) == made


def test_the_file_is_private_and_holds_no_plain_key(tmp_path: Path) -> None:
    path = tmp_path / "keystore.json"
    made = identity.create(path, PASSWORD, scrypt_rounds=QUICK)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made.key.hex() not in path.read_text()
    assert made.key.hex() not in repr(made)
    assert str(made.key) not in repr(made)


def test_a_wrong_password_is_said_plainly(keystore: Path) -> None:
    with pytest.raises(IdentityError, match="wrong password"):
        identity.load(keystore, "incorrect horse")


def test_a_keystore_is_never_overwritten(keystore: Path) -> None:
    before = keystore.read_bytes()
    with pytest.raises(IdentityError, match="never overwritten"):
        identity.create(keystore, PASSWORD, scrypt_rounds=QUICK)
    assert keystore.read_bytes() == before


def test_a_short_password_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="fewer than"):
        identity.create(tmp_path / "keystore.json", "short")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", json.dumps({"version": 3, "crypto": {}}).encode()])
def test_what_is_no_keystore_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keystore.json"
    path.write_bytes(content)
    with pytest.raises(IdentityError, match="not a keystore"):
        identity.load(path, PASSWORD)


def test_an_absent_keystore_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="can't read the keystore"):
        identity.load(tmp_path / "keystore.json", PASSWORD)


def test_the_password_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    assert identity.read_password(file) == PASSWORD
    monkeypatch.setenv("SWARM_PASSWORD", "from the environment")
    assert identity.read_password(None) == "from the environment"
    monkeypatch.delenv("SWARM_PASSWORD")
    with pytest.raises(IdentityError, match="no password"):
        identity.read_password(None)
