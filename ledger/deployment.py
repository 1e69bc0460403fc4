"""Where the contracts stand: on which chain, at which addresses, from which block on."""

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ledger.abi import normalise_address
from ledger.errors import DeploymentInvalid
from ledger.types import Address

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Deployment:
    """A consortium's two contracts: the chain's id, its genesis hash, their addresses, and the block that holds both."""

    chain_id: int
    genesis: bytes
    consortium: Address
    study: Address
    block: int

    def to_json(self) -> str:
        """Give the canonical JSON: what one site hands to another."""
        return json.dumps(
            {"version": _VERSION, **asdict(self), "genesis": "0x" + self.genesis.hex()}, indent=2, sort_keys=True
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> "Deployment":
        """Read the JSON; raises DeploymentInvalid, naming the field."""
        try:
            record = json.loads(text)
        except ValueError as error:
            raise DeploymentInvalid(f"the deployment is not JSON: {error}") from error
        if not isinstance(record, dict) or record.get("version") != _VERSION:
            raise DeploymentInvalid(f"the deployment is not a JSON object of version {_VERSION}")
        unknown = record.keys() - {"version", "chain_id", "genesis", "consortium", "study", "block"}
        if unknown:
            raise DeploymentInvalid(f"the deployment has unknown fields: {', '.join(sorted(unknown))}")
        return cls(
            chain_id=_number(record, "chain_id", least=1),
            genesis=_hash(record, "genesis"),
            consortium=_account(record, "consortium"),
            study=_account(record, "study"),
            block=_number(record, "block", least=0),
        )

    def save(self, path: Path) -> None:
        """Write the file, durably and all at once."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=path.name, delete=False) as file:
            file.write(self.to_json() + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, path)

    @classmethod
    def load(cls, path: Path) -> "Deployment":
        """Read the file; raises DeploymentInvalid, also where there is none."""
        try:
            text = path.read_bytes()
        except OSError as error:
            raise DeploymentInvalid(f"{path} can't be read: {error.strerror}; ask another site for its file") from error
        try:
            return cls.from_json(text)
        except DeploymentInvalid as error:
            raise DeploymentInvalid(f"{path}: {error}") from error


def _number(record: dict[str, Any], field: str, *, least: int) -> int:
    value = record.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 1 << 63:
        raise DeploymentInvalid(f"the deployment's {field} is not a whole number from {least}")
    return value


def _hash(record: dict[str, Any], field: str) -> bytes:
    value = record.get(field)
    try:
        raw = bytes.fromhex(value[2:]) if isinstance(value, str) and value.startswith("0x") else b""
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise DeploymentInvalid(f"the deployment's {field} is not 0x and 64 hex digits")
    return raw


def _account(record: dict[str, Any], field: str) -> Address:
    value = record.get(field)
    try:
        if isinstance(value, str) and value.startswith("0x"):
            return normalise_address(value)
    except ValueError:
        pass
    raise DeploymentInvalid(f"the deployment's {field} is not 0x and 40 hex digits")
