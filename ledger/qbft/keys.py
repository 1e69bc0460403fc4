"""A validator's key: what its Besu signs blocks with and is known by on the network."""

from dataclasses import dataclass, field

from coincurve import PublicKey as Point

from ledger.abi import checksum_address, keccak256
from ledger.account import Account
from ledger.errors import QbftInvalid
from ledger.types import Address


@dataclass(frozen=True, slots=True, order=True)
class PublicKey:
    """A point on secp256k1 as Besu writes it: 64 bytes, x and y, without the prefix 04; raises QbftInvalid."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != 64:
            raise QbftInvalid("a validator's public key is 128 hex digits, as `swarm-node chain key` prints them")
        try:
            Point(b"\x04" + self.raw)
        except ValueError:
            raise QbftInvalid(f"{self.raw.hex()} is no point on secp256k1: a digit is wrong; copy it again") from None

    @classmethod
    def from_hex(cls, text: str) -> "PublicKey":
        """Read 128 hex digits, with 0x or without; raises QbftInvalid."""
        digits = text.removeprefix("0x")
        if not set(digits) <= set("0123456789abcdefABCDEF") or len(digits) % 2:
            raise QbftInvalid(f"{text[:160]!r} is not a validator's public key: 128 hex digits")
        return cls(bytes.fromhex(digits))

    @property
    def address(self) -> Address:
        """The account by which QBFT knows the validator."""
        return checksum_address(keccak256(self.raw)[-20:])

    def __str__(self) -> str:
        return self.raw.hex()


@dataclass(frozen=True, slots=True)
class NodeKey:
    """The 32 bytes of a validator's private key; raises KeyInvalid where they aren't one."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        Account(self.secret)  # refuses what is no key

    @property
    def public(self) -> PublicKey:
        """The public key that the other hospitals are told."""
        return PublicKey(Point.from_secret(self.secret).format(compressed=False)[1:])

    def to_file(self) -> bytes:
        """Give the file that Besu reads: a single line of hex, not encrypted, since Besu takes no other."""
        return f"0x{self.secret.hex()}".encode()
