"""What happened in a block: its transactions and receipts, as the bytes that its header's roots commit to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ledger.abi import checksum_address, keccak256
from ledger.audit.proof.coding import decode, encode, number, unsigned, word
from ledger.errors import BundleInvalid, BundleUnmakeable
from ledger.types import Address

MAX_LOGS: Final = 100_000
_TYPED_FROM: Final = 0x7F
_LEGACY: Final = ("nonce", "gasPrice", "gas", "to", "value", "input", "v", "r", "s")
_TYPED: Final = {
    1: ("chainId", "nonce", "gasPrice", "gas", "to", "value", "input", "accessList", "yParity", "r", "s"),
    2: (
        *("chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas", "to", "value", "input", "accessList"),
        *("yParity", "r", "s"),
    ),
}


@dataclass(frozen=True, slots=True)
class Body:
    """A block's transactions and their receipts, raw, in order."""

    number: int
    transactions: tuple[bytes, ...]
    receipts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Log:
    """One log of a receipt."""

    address: Address
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a transaction did: whether it took effect, and its logs."""

    succeeded: bool
    logs: tuple[Log, ...]


def transaction_bytes(transaction: Mapping[str, Any]) -> bytes:
    """Encode a transaction that a node gave as JSON; raises BundleUnmakeable where it doesn't have its hash."""
    kind = int(transaction.get("type") or "0x0", 16)
    if kind and kind not in _TYPED:
        raise BundleUnmakeable(f"transaction {transaction['hash']} is of type {kind}, which this version can't encode")
    fields = [_transaction_field(transaction, name) for name in _TYPED.get(kind, _LEGACY)]
    raw = bytes([kind]) * bool(kind) + encode(fields)
    if keccak256(raw) != bytes.fromhex(transaction["hash"][2:]):
        raise BundleUnmakeable(f"transaction {transaction['hash']} has fields that this version doesn't know")
    return raw


def _transaction_field(transaction: Mapping[str, Any], name: str) -> Any:
    value = transaction.get(name)
    if name == "accessList":
        entries = value or []
        return [[_hex(one["address"]), [_hex(key) for key in one["storageKeys"]]] for one in entries]
    if name in ("to", "input"):
        return _hex(value)
    if name == "yParity" and value is None:
        value = transaction.get("v")
    return unsigned(int(value or "0x0", 16))


def receipt_bytes(receipt: Mapping[str, Any]) -> bytes:
    """Encode a receipt that a node gave as JSON."""
    kind = int(receipt.get("type") or "0x0", 16)
    logs = [
        [_hex(log["address"]), [_hex(topic) for topic in log["topics"]], _hex(log["data"])] for log in receipt["logs"]
    ]
    status = unsigned(int(receipt["status"], 16))
    fields = [status, unsigned(int(receipt["cumulativeGasUsed"], 16)), _hex(receipt["logsBloom"]), logs]
    return bytes([kind]) * bool(kind) + encode(fields)


def _hex(text: str | None) -> bytes:
    return bytes.fromhex(text[2:]) if text else b""


def read_receipt(raw: bytes) -> Receipt:
    """Read a receipt; raises BundleInvalid."""
    body = raw[1:] if raw and raw[0] <= _TYPED_FROM else raw
    fields = decode(body, "receipt")
    if not isinstance(fields, list) or len(fields) != 4 or not isinstance(fields[3], list) or len(fields[3]) > MAX_LOGS:
        raise BundleInvalid("receipt: not a receipt")
    return Receipt(number(fields[0], "receipt status") == 1, tuple(_log(log) for log in fields[3]))


def _log(fields: Any) -> Log:
    match fields:
        case [bytes(address), list(topics), bytes(data)] if len(topics) <= 4:
            account = checksum_address(word(address, "log address", 20))
            return Log(account, tuple(word(topic, "log topic") for topic in topics), data)
    raise BundleInvalid("receipt: not a log")
