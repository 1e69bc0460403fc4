"""A site's account: a secp256k1 key that signs transactions."""

from dataclasses import dataclass
from typing import Any, Final, Self

from coincurve import PrivateKey, PublicKey

from ledger import rlp
from ledger.abi import checksum_address, keccak256
from ledger.errors import KeyInvalid, TransactionInvalid
from ledger.types import Address

_TYPE_EIP1559: Final = b"\x02"
_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A transaction as it goes over the wire; sent twice, it takes effect once."""

    raw: bytes
    hash: bytes
    nonce: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """What a signed transaction says, and who signed it; `to` is None where it creates a contract."""

    sender: Address
    chain_id: int
    nonce: int
    to: Address | None
    call: bytes
    gas: int

    @classmethod
    def from_raw(cls, raw: bytes) -> Self:
        """Read an EIP-1559 transaction without an access list and recover its signer; raises TransactionInvalid."""
        if raw[:1] != _TYPE_EIP1559:
            raise TransactionInvalid("the bytes are not an EIP-1559 transaction")
        try:
            return cls._from_fields(rlp.decode(raw[1:]))
        except (ValueError, TypeError, AttributeError) as error:
            raise TransactionInvalid(f"the bytes are not a signed transaction: {error}") from error

    @classmethod
    def _from_fields(cls, fields: Any) -> Self:
        if not isinstance(fields, list) or len(fields) != 12 or fields[8] != []:
            raise ValueError("it does not have 12 fields and an empty access list")
        numbers = [int.from_bytes(field, "big") for field in fields[:5]]
        signature = fields[10].rjust(32, b"\0") + fields[11].rjust(32, b"\0") + fields[9].rjust(1, b"\0")
        digest = keccak256(_TYPE_EIP1559 + rlp.encode(fields[:9]))
        signer = PublicKey.from_signature_and_message(signature, digest, hasher=None)
        if len(fields[5]) not in (0, 20):
            raise ValueError("its target is not an account")
        to = checksum_address(fields[5]) if fields[5] else None
        return cls(_address(signer), numbers[0], numbers[1], to, fields[7], numbers[4])


class Account:
    """Signs with libsecp256k1 (coincurve), some seven times faster than the pure Python fallback of eth-keys."""

    def __init__(self, secret: bytes) -> None:
        """Take the 32 bytes of a private key; raises KeyInvalid."""
        if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < _ORDER:
            raise KeyInvalid("a private key is 32 bytes, above zero and below the order of secp256k1")
        self._key = PrivateKey(secret)
        self.address: Address = _address(self._key.public_key)

    def __repr__(self) -> str:
        return f"Account({self.address})"

    def sign(
        self, chain_id: int, nonce: int, to: Address | None, call: bytes, gas: int, *, fee: int = 0, tip: int = 0
    ) -> SignedTransaction:
        """Sign an EIP-1559 transaction that carries no value; `to` is None to create a contract. Fees in wei a gas."""
        target = bytes.fromhex(to[2:]) if to is not None else b""
        fields = [chain_id, nonce, tip, fee, gas, target, 0, call, []]
        digest = keccak256(_TYPE_EIP1559 + rlp.encode(fields))
        signature = self._key.sign_recoverable(digest, hasher=None)
        r, s, parity = signature[:32], signature[32:64], signature[64]
        raw = _TYPE_EIP1559 + rlp.encode([*fields, parity, int.from_bytes(r, "big"), int.from_bytes(s, "big")])
        return SignedTransaction(raw, keccak256(raw), nonce)


def _address(key: PublicKey) -> Address:
    return checksum_address(keccak256(key.format(compressed=False)[1:])[12:])
