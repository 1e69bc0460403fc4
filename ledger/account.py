"""A site's account: a secp256k1 key that signs transactions.

eth_account, which is web3's, does the work; with coincurve installed it signs with libsecp256k1.
"""

from dataclasses import dataclass
from typing import Any, Final, Self

from eth_keys.exceptions import BadSignature
from eth_utils.exceptions import ValidationError
from hexbytes import HexBytes
from rlp.exceptions import RLPException

from ledger.abi import checksum_address
from ledger.errors import KeyInvalid, TransactionInvalid
from ledger.eth import EthAccount, TypedTransaction
from ledger.types import Address

_TYPE_EIP1559: Final = 2
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
        """Read an EIP-1559 transaction and recover its signer; raises TransactionInvalid."""
        if raw[:1] != bytes([_TYPE_EIP1559]):
            raise TransactionInvalid("the bytes are not an EIP-1559 transaction")
        try:
            fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
            sender = str(EthAccount.recover_transaction(raw))
            to = checksum_address(bytes(fields["to"])) if fields["to"] else None
        except (RLPException, BadSignature, ValidationError, ValueError, TypeError) as error:
            raise TransactionInvalid(f"the bytes are not a signed transaction: {error}") from error
        return cls(sender, fields["chainId"], fields["nonce"], to, bytes(fields["data"]), fields["gas"])


class Account:
    """Signs transactions."""

    def __init__(self, secret: bytes) -> None:
        """Take the 32 bytes of a private key; raises KeyInvalid."""
        if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < _ORDER:
            raise KeyInvalid("a private key is 32 bytes, above zero and below the order of secp256k1")
        self._signer = EthAccount.from_key(secret)
        self.address: Address = self._signer.address

    def __repr__(self) -> str:
        return f"Account({self.address})"

    def sign(
        self, chain_id: int, nonce: int, to: Address | None, call: bytes, gas: int, *, fee: int = 0, tip: int = 0
    ) -> SignedTransaction:
        """Sign an EIP-1559 transaction that carries no value; `to` is None to create a contract. Fees in wei a gas."""
        fields: dict[str, Any] = {
            "type": _TYPE_EIP1559,
            "chainId": chain_id,
            "nonce": nonce,
            "value": 0,
            "data": call,
            "gas": gas,
            "maxFeePerGas": fee,
            "maxPriorityFeePerGas": tip,
        }
        signed = self._signer.sign_transaction(fields if to is None else {**fields, "to": to})
        return SignedTransaction(bytes(signed.raw_transaction), bytes(signed.hash), nonce)
