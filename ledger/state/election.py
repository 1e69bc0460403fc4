"""Who leads a term, computed again from what is on record; the same arithmetic as contracts/src/Election.sol."""

from collections.abc import Iterable
from functools import reduce

from ledger.abi import CODEC, keccak256
from ledger.types import Address, seats_of


def genesis_seed(chain_id: int, study_contract: Address, study: int, spec_hash: bytes) -> bytes:
    """Give the seed under which a study starts."""
    return keccak256(
        CODEC.encode(["uint256", "address", "uint256", "bytes32"], [chain_id, study_contract, study, spec_hash])
    )


def contribution(seat: int, reveal: bytes) -> bytes:
    """Give what one commit adds, by XOR, to its round's mix."""
    return keccak256(CODEC.encode(["uint8", "bytes32"], [seat, reveal]))


def mix(reveals: Iterable[tuple[int, bytes]]) -> bytes:
    """Give the XOR of the contributions of (seat, reveal) pairs; their order doesn't matter."""
    total = reduce(lambda sum_, pair: sum_ ^ int.from_bytes(contribution(*pair), "big"), reveals, 0)
    return total.to_bytes(32, "big")


def next_seed(seed: bytes, mixed: bytes, round: int, attempt: int) -> bytes:
    """Give the seed of a sealed round, from the seed before it."""
    return keccak256(CODEC.encode(["bytes32", "bytes32", "uint16", "uint16"], [seed, mixed, round, attempt]))


def elect(seed: bytes, term: int, candidates: int) -> int:
    """Give the seat that leads a term, out of a bitmap of candidates; raises ValueError where it is empty."""
    if candidates == 0:
        raise ValueError("nobody can lead: there are no candidates")
    draw = int.from_bytes(keccak256(CODEC.encode(["bytes32", "uint16"], [seed, term])), "big")
    return list(seats_of(candidates))[draw % candidates.bit_count()]


def quorum(voters: int, bps: int) -> int:
    """Give the fewest of a number of voters that are `bps` ten-thousandths of them, and never none."""
    return 1 if voters == 0 else -(-voters * bps // 10000)
