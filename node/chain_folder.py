"""The folder of a consortium's own chain on disk: public files that may be made again, and keys that may not."""

import secrets
from collections.abc import Mapping
from pathlib import Path

from ledger.qbft import GENESIS, P2P_PORT, Chain, NodeKey, Validator, chain_files
from node.errors import StorageError
from node.files import write_atomically, write_once

KEY = "key"
PUBLIC_KEY = "key.pub"
PLACEHOLDER = "{n}"


def new_key() -> NodeKey:
    """Draw a validator's key."""
    return NodeKey(secrets.token_bytes(32))


def write_key(key: NodeKey, folder: Path) -> None:
    """Write a key for Besu, readable by its owner only; raises StorageError where a key is there already."""
    path = folder / KEY
    try:
        write_once(path, key.to_file(), mode=0o600)
        write_atomically(folder / PUBLIC_KEY, f"{key.public}\n".encode())
    except FileExistsError:
        raise StorageError(f"{path} exists; a key is never overwritten: choose another folder") from None
    except OSError as error:
        raise StorageError(f"can't write {path}: {error.strerror}") from None


def write_chain(chain: Chain, folder: Path) -> None:
    """Write a chain's files; raises StorageError, before anything is written, where the folder holds other ones."""
    files = chain_files(chain)
    try:
        for name, content in files.items():
            path = folder / name
            if path.exists() and path.read_bytes() != content:
                raise StorageError(f"{path} exists and says something else; choose another folder for this chain")
        for name, content in files.items():
            write_atomically(folder / name, content)
    except OSError as error:
        raise StorageError(f"can't write the chain's files to {folder}: {error.strerror}") from None


def rehearsal(count: int, pattern: str) -> dict[Validator, NodeKey]:
    """Make validators and their keys, all in one hand, for a chain that may be thrown away.

    `{n}` in the host pattern is 1, 2, ...; without it they share the host and count up the port. Raises QbftInvalid.
    """
    made = {}
    for number in range(1, count + 1):
        key = new_key()
        host = pattern.replace(PLACEHOLDER, str(number))
        port = P2P_PORT if PLACEHOLDER in pattern else P2P_PORT + number - 1
        made[Validator(f"validator-{number}", host, port, key.public)] = key
    return made


def write_rehearsal(chain: Chain, keys: Mapping[Validator, NodeKey], folder: Path) -> None:
    """Write a chain with every validator's key; raises StorageError where the folder holds a chain or key."""
    for path in (folder / GENESIS, *(folder / validator.name / KEY for validator in keys)):
        if path.exists():
            raise StorageError(f"{path} exists; a rehearsal draws new keys: choose another folder")
    write_chain(chain, folder)
    for validator, key in keys.items():
        write_key(key, folder / validator.name)
