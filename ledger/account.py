"""A site's account: a secp256k1 key that signs transactions."""

from dataclasses import dataclass
from typing import Any, Final

from coincurve import PrivateKey
from eth_hash.auto import keccak

from ledger.abi import checksum_address
from ledger.errors import KeyInvalid
from ledger.types import Address

_TYPE_EIP1559: Final = b"\x02"
_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def _rlp(item: int | bytes | list[Any]) -> bytes:
    """Encode by Ethereum's recursive length prefix (yellow paper, appendix B)."""
    if isinstance(item, list):
        return _prefixed(0xC0, b"".join(_rlp(part) for part in item))
    raw = item.to_bytes((item.bit_length() + 7) // 8, "big") if isinstance(item, int) else item
    return raw if len(raw) == 1 and raw[0] < 0x80 else _prefixed(0x80, raw)


def _prefixed(base: int, payload: bytes) -> bytes:
    if len(payload) < 56:
        return bytes([base + len(payload)]) + payload
    length = len(payload).to_bytes((len(payload).bit_length() + 7) // 8, "big")
    return bytes([base + 55 + len(length)]) + length + payload


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A transaction as it goes over the wire; sent twice, it takes effect once."""

    raw: bytes
    hash: bytes
    nonce: int


class Account:
    """Signs with libsecp256k1 (coincurve), some seven times faster than the pure Python fallback of eth-keys."""

    def __init__(self, secret: bytes) -> None:
        """Take the 32 bytes of a private key; raises KeyInvalid."""
        if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < _ORDER:
            raise KeyInvalid("a private key is 32 bytes, above zero and below the order of secp256k1")
        self._key = PrivateKey(secret)
        self.address: Address = checksum_address(keccak(self._key.public_key.format(compressed=False)[1:])[12:])

    def __repr__(self) -> str:
        return f"Account({self.address})"

    def sign(
        self, chain_id: int, nonce: int, to: Address | None, call: bytes, gas: int, *, fee: int = 0, tip: int = 0
    ) -> SignedTransaction:
        """Sign an EIP-1559 transaction that carries no value; `to` is None to create a contract. Fees in wei a gas."""
        target = bytes.fromhex(to[2:]) if to is not None else b""
        fields = [chain_id, nonce, tip, fee, gas, target, 0, call, []]
        digest = keccak(_TYPE_EIP1559 + _rlp(fields))
        signature = self._key.sign_recoverable(digest, hasher=None)
        r, s, parity = signature[:32], signature[32:64], signature[64]
        raw = _TYPE_EIP1559 + _rlp([*fields, parity, int.from_bytes(r, "big"), int.from_bytes(s, "big")])
        return SignedTransaction(raw, keccak(raw), nonce)
