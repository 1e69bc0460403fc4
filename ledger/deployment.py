"""Where the contracts stand: on which chain, at which addresses, from which block on."""

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from contracts import artifacts
from ledger.abi import checksum_address, constructor, normalise_address
from ledger.account import Account
from ledger.errors import DeploymentInvalid, TransactionFailed
from ledger.rpc import Rpc, data, eth_call
from ledger.sender import Sender
from ledger.types import Address, Founder

_VERSION = 1
_GAS_PER_BYTE = 400
_GAS_PER_FOUNDER = 200_000
_GAS_BASE = 1_000_000


@dataclass(frozen=True, slots=True)
class Deployment:
    """A consortium's two contracts: their chain and its genesis hash, their addresses, and the first one's block."""

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
        except (ValueError, RecursionError) as error:
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


def deploy(
    rpc: Rpc,
    account: Account,
    founders: Sequence[Founder],
    quorum_bps: int,
    motion_seconds: int,
    *,
    timeout: float = 60.0,
) -> Deployment:
    """Put both contracts on the chain; the deployer gets no rights by it. Raises the Consortium's own errors."""
    chain_id = int(rpc.call("eth_chainId"), 16)
    genesis = bytes.fromhex(rpc.call("eth_getBlockByNumber", "0x0", False)["hash"][2:])
    sender = Sender(rpc, account, chain_id, timeout=timeout)
    arguments = (list(founders), quorum_bps, motion_seconds)
    consortium, first = _create(rpc, sender, "Consortium", arguments, _GAS_PER_FOUNDER * len(founders))
    study, _ = _create(rpc, sender, "Study", (consortium,), 0)
    return Deployment(chain_id, genesis, consortium, study, first)


def _create(
    rpc: Rpc, sender: Sender, name: artifacts.ContractName, arguments: tuple[Any, ...], extra_gas: int
) -> tuple[Address, int]:
    """Create one contract; gives its address and block."""
    artifact = artifacts.load(name)
    code = artifact.bytecode + constructor(artifact.abi).encode(arguments)
    # A constructor's refusal is worth asking for first: once it is mined the reason is hard to come by.
    eth_call(rpc, {"from": sender.account.address, "data": data(code)}, "latest")
    signed, receipt = sender.send(None, code, _GAS_BASE + _GAS_PER_BYTE * len(code) + extra_gas)
    if int(receipt["status"], 16) == 0:
        raise TransactionFailed(f"{name} could not be created: transaction {data(signed.hash)} reverted", signed.hash)
    return checksum_address(bytes.fromhex(receipt["contractAddress"][2:])), int(receipt["blockNumber"], 16)
