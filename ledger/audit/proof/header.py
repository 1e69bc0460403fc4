"""Block headers: from a node's JSON to the bytes that are hashed, and from these bytes to what an audit needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ledger.abi import keccak256
from ledger.audit.proof.coding import decode, encode, number, unsigned, word
from ledger.errors import BundleInvalid, BundleUnmakeable
from ledger.types import Block

MAX_HEADER_BYTES: Final = 1 << 16
BFT_MIX: Final = bytes.fromhex("63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365")
"""By this mix hash Besu's QBFT marks its blocks; they are hashed without what differs between a block's copies."""

_NUMBER, _BYTES = "number", "bytes"
_FIELDS: Final = (
    ("parentHash", _BYTES),
    ("sha3Uncles", _BYTES),
    ("miner", _BYTES),
    ("stateRoot", _BYTES),
    ("transactionsRoot", _BYTES),
    ("receiptsRoot", _BYTES),
    ("logsBloom", _BYTES),
    ("difficulty", _NUMBER),
    ("number", _NUMBER),
    ("gasLimit", _NUMBER),
    ("gasUsed", _NUMBER),
    ("timestamp", _NUMBER),
    ("extraData", _BYTES),
    ("mixHash", _BYTES),
    ("nonce", _BYTES),
)
_LATER: Final = (
    ("baseFeePerGas", _NUMBER),
    ("withdrawalsRoot", _BYTES),
    ("blobGasUsed", _NUMBER),
    ("excessBlobGas", _NUMBER),
    ("parentBeaconBlockRoot", _BYTES),
    ("requestsHash", _BYTES),
)
"""What later upgrades of the chain added, in this order; a header has the first so many of them."""


@dataclass(frozen=True, slots=True)
class Header:
    """A block's header, as far as an audit needs it; `bloom` tells which accounts may have written logs in it."""

    block: Block
    parent: bytes
    transactions_root: bytes
    receipts_root: bytes
    bloom: int

    def may_hold(self, bits: int) -> bool:
        """Say whether an account with these bloom bits may have written a log; where not, it certainly hasn't."""
        return self.bloom & bits == bits


def header_bytes(block: Mapping[str, Any]) -> bytes:
    """Encode a header that a node gave as JSON; raises BundleUnmakeable where that doesn't give its hash."""
    fields = [_field(block, name, kind) for name, kind in _FIELDS]
    for name, kind in _LATER:
        if block.get(name) is None:
            break
        fields.append(_field(block, name, kind))
    raw = encode(fields)
    if read_header(raw).block.hash != bytes.fromhex(block["hash"][2:]):
        raise BundleUnmakeable(
            f"block {block['number']} has header fields that this version doesn't know: its hash can't be computed"
        )
    return raw


def _field(block: Mapping[str, Any], name: str, kind: str) -> bytes:
    try:
        return unsigned(int(block[name], 16)) if kind == _NUMBER else bytes.fromhex(block[name][2:])
    except (LookupError, TypeError, ValueError) as error:
        raise BundleUnmakeable(f"the chain's node gives block headers without {name}") from error


def read_header(raw: bytes) -> Header:
    """Read a header and compute its hash; raises BundleInvalid."""
    if len(raw) > MAX_HEADER_BYTES:
        raise BundleInvalid(f"header: {len(raw)} bytes, at most {MAX_HEADER_BYTES} are allowed")
    fields = decode(raw, "header")
    if not isinstance(fields, list) or not len(_FIELDS) <= len(fields) <= len(_FIELDS) + len(_LATER):
        raise BundleInvalid("header: not a block's header")
    if not all(isinstance(field, bytes) for field in fields):
        raise BundleInvalid("header: not a block's header")
    named = {name: field for (name, _), field in zip(_FIELDS, fields, strict=False)}
    height = number(named["number"], "header number")
    return Header(
        block=Block(height, keccak256(_hashed(raw, fields, height)), number(named["timestamp"], "header timestamp")),
        parent=word(named["parentHash"], "parent hash"),
        transactions_root=word(named["transactionsRoot"], "transactions root"),
        receipts_root=word(named["receiptsRoot"], "receipts root"),
        bloom=int.from_bytes(word(named["logsBloom"], "logs bloom", 256), "big"),
    )


def _hashed(raw: bytes, fields: list[bytes], height: int) -> bytes:
    """Give what is hashed: the header or, with QBFT, the header with round 0 and without the validators' seals."""
    at = {name: index for index, (name, _) in enumerate(_FIELDS)}
    if fields[at["mixHash"]] != BFT_MIX or height == 0:
        return raw
    extra = decode(fields[at["extraData"]], "QBFT extra data")
    if not isinstance(extra, list) or len(extra) != 5:
        raise BundleInvalid("header: not the extra data of QBFT")
    reduced = list(fields)
    reduced[at["extraData"]] = encode([*extra[:3], b"", []])
    return encode(reduced)
