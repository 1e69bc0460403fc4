"""A site's one key: Ethereum account and libp2p host key, in an encrypted keystore file."""

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node.errors import IdentityError
from node.files import write_atomically

MAX_KEYSTORE_BYTES = 16 * 1024
SCRYPT_ROUNDS = 1 << 18
MIN_PASSWORD = 8


@dataclass(frozen=True, slots=True)
class Identity:
    """A secp256k1 private key and the Ethereum address that follows from it."""

    address: str
    key: bytes = field(repr=False)


def create(path: Path, password: str, *, scrypt_rounds: int = SCRYPT_ROUNDS) -> Identity:
    """Make a new key and write it to an encrypted keystore (Web3 Secret Storage v3, scrypt); never overwrite one.

    `scrypt_rounds` is scrypt's N: 2**18 costs an attacker a second and 256 MB a guess.
    """
    return store(path, secrets.token_bytes(32), password, scrypt_rounds=scrypt_rounds)


def store(path: Path, key: bytes, password: str, *, scrypt_rounds: int = SCRYPT_ROUNDS) -> Identity:
    """Encrypt a private key into a new keystore file that only its owner may read."""
    from ledger.eth import EthAccount

    if path.exists():
        raise IdentityError(f"{path} exists; a keystore is never overwritten")
    if len(password) < MIN_PASSWORD:
        raise IdentityError(f"the password has fewer than {MIN_PASSWORD} characters")
    account = EthAccount.from_key(key)
    keystore = EthAccount.encrypt(key, password, kdf="scrypt", iterations=scrypt_rounds)
    write_atomically(path, json.dumps(keystore, indent=2).encode(), mode=0o600)
    return Identity(account.address, key)


def load(path: Path, password: str) -> Identity:
    """Decrypt a keystore file; raises IdentityError where it is absent, malformed or the password is wrong."""
    from ledger.eth import EthAccount

    keystore = _read(path)
    try:
        key = bytes(EthAccount.decrypt(keystore, password))
    except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError) as error:
        if "MAC mismatch" in str(error):
            raise IdentityError(f"wrong password for {path}") from None
        raise IdentityError(f"{path} is not a keystore file that can be decrypted") from None
    return Identity(EthAccount.from_key(key).address, key)


def unlock(path: Path, password_file: Path | None) -> Identity:
    """Decrypt a keystore file with the password from a file, or from $SWARM_PASSWORD; raises IdentityError."""
    return load(path, read_password(password_file))


def address_of(path: Path) -> str:
    """The account of a keystore file, as it says without being decrypted; raises IdentityError."""
    from ledger.abi import normalise_address

    address = _read(path).get("address")
    try:
        return normalise_address("0x" + str(address).removeprefix("0x"))
    except ValueError:
        raise IdentityError(f"{path} is not a keystore file: it names no account") from None


def read_password(path: Path | None) -> str:
    """The keystore's password: from the file given, or from $SWARM_PASSWORD."""
    if path is None:
        password = os.environ.get("SWARM_PASSWORD", "")
        if not password:
            raise IdentityError(
                "no password: name a file with password_file in the configuration or set SWARM_PASSWORD"
            )
        return password
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise IdentityError(f"can't read the password file {path}: {error}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_KEYSTORE_BYTES:
            raise IdentityError(f"{path} is larger than a keystore can be")
        keystore = json.loads(path.read_bytes())
    except OSError as error:
        raise IdentityError(f"can't read the keystore {path}: {error.strerror}; `swarm-node init` makes one") from None
    except (ValueError, RecursionError):
        keystore = None
    if not isinstance(keystore, dict):
        raise IdentityError(f"{path} is not a keystore file")
    return keystore
