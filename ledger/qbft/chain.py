"""What the hospitals have agreed on: the chain's number, its pace, its validators, and who may send transactions."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ledger.abi import normalise_address
from ledger.devnet.devnet import CHAIN_ID as DEVNET_CHAIN_ID
from ledger.errors import QbftInvalid
from ledger.qbft.hosts import as_address, is_loopback
from ledger.qbft.validator import Validator
from ledger.types import MAX_SEATS, Address

MIN_TO_SURVIVE_ONE: Final = 4
MAX_BLOCK_SECONDS: Final = 60
MAX_CHAIN_ID: Final = 2**53 - 1  # the largest that every JSON reader gets right
TAKEN_CHAIN_IDS: Final = {
    1: "Ethereum",
    5: "Goerli",
    10: "OP Mainnet",
    56: "BNB Smart Chain",
    61: "Ethereum Classic",
    97: "BNB Smart Chain's test network",
    100: "Gnosis",
    137: "Polygon",
    250: "Fantom",
    324: "ZKsync Era",
    1337: "development chains by default",
    8453: "Base",
    17_000: "Holesky",
    31_337: "development chains by default",
    42_161: "Arbitrum One",
    42_220: "Celo",
    43_114: "Avalanche",
    59_144: "Linea",
    84_532: "Base Sepolia",
    534_352: "Scroll",
    560_048: "Hoodi",
    11_155_111: "Sepolia",
    DEVNET_CHAIN_ID: "this program's development chain",
}
"""A transaction that is signed for one chain is valid on every chain of the same number."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain to be, its validators in ascending order of address; raises QbftInvalid, naming what is wrong."""

    chain_id: int
    block_seconds: int
    validators: tuple[Validator, ...]
    accounts: tuple[Address, ...] = ()

    def __post_init__(self) -> None:
        _check_chain_id(self.chain_id)
        if not 1 <= self.block_seconds <= MAX_BLOCK_SECONDS:
            raise QbftInvalid(f"a block every {self.block_seconds} s: give 1 to {MAX_BLOCK_SECONDS} seconds")
        if not 1 <= len(self.validators) <= MAX_SEATS:
            raise QbftInvalid(f"{len(self.validators)} validators: a chain has 1 to {MAX_SEATS}")
        _check_validators(self.validators)
        ordered = sorted(self.validators, key=lambda validator: int(validator.address, 16))
        object.__setattr__(self, "validators", tuple(ordered))
        object.__setattr__(self, "accounts", tuple(sorted(map(_account, self.accounts), key=str.lower)))
        _refuse_twice(self.accounts, "the account")

    @property
    def faults(self) -> int:
        """How many validators may fail, or lie, while the chain goes on."""
        return (len(self.validators) - 1) // 3

    @property
    def has_names(self) -> bool:
        """Whether a validator is reached by host name rather than by address."""
        return any(as_address(validator.host) is None for validator in self.validators)

    def warnings(self) -> list[str]:
        """What the hospitals should know before they start it, one sentence each."""
        found = []
        if not self.faults:
            found.append(
                f"{len(self.validators)} of {MIN_TO_SURVIVE_ONE} validators: by Besu's documentation it takes "
                f"{MIN_TO_SURVIVE_ONE} to go on with one that fails or lies"
            )
        if self.has_names:
            found.append("host names need an option that Besu calls early access; IP addresses do without")
        return found


def _check_chain_id(number: int) -> None:
    if not 1 <= number <= MAX_CHAIN_ID:
        raise QbftInvalid(f"the chain id {number} is not a whole number from 1 to {MAX_CHAIN_ID}")
    if number in TAKEN_CHAIN_IDS:
        raise QbftInvalid(
            f"the chain id {number} is used by {TAKEN_CHAIN_IDS[number]}, where this chain's transactions would be "
            "valid too; agree on a number of your own"
        )


def _check_validators(validators: tuple[Validator, ...]) -> None:
    _refuse_twice((validator.name for validator in validators), "the name")
    _refuse_twice((str(validator.key) for validator in validators), "the public key")
    _refuse_twice((validator.endpoint for validator in validators), "the host and port")
    local = [validator for validator in validators if is_loopback(validator.host)]
    if local and len(local) < len(validators):
        raise QbftInvalid(f"{local[0].name}: the other validators can't dial {local[0].host}; give a public host")


def _refuse_twice(values: Iterable[str], what: str) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise QbftInvalid(f"{what} {value} is given twice; each validator or account is given once")
        seen.add(value)


def _account(text: str) -> Address:
    try:
        if text.startswith("0x"):
            return normalise_address(text)
    except ValueError:
        pass
    raise QbftInvalid(f"{text[:80]!r} is not an account: 0x and 40 hex digits")
