"""The genesis file: the block that every validator must begin with, byte by byte.

Fields and constants as in Besu's documentation of QBFT and of networks without gas fees.
"""

import json
from collections.abc import Iterable
from typing import Any, Final

import rlp

from ledger.qbft.chain import Chain
from ledger.types import Address

_VANITY: Final = bytes(32)
_MIX_HASH: Final = "0x63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365"  # marks a BFT block
_NO_GAS_LIMIT: Final = "0x1fffffffffffff"
_EPOCH_BLOCKS: Final = 30_000  # open votes on validators are dropped at its end


def extra_data(validators: Iterable[Address]) -> str:
    """Encode the first validators as a QBFT block's extra data: no vote, round zero, no seals.

    In the order given; Besu's documentation asks for ascending order, which is a Chain's.
    """
    members = [bytes.fromhex(address.removeprefix("0x")) for address in validators]
    return "0x" + bytes(rlp.encode([_VANITY, members, [], b"", []])).hex()


def genesis(chain: Chain) -> dict[str, Any]:
    """Make the genesis: rules of Cancun from the first block, no fees, no balances.

    `emptyblockperiodseconds` is left out, so that blocks come at one pace: rounds have deadlines in block time, and a
    chain that pauses while nobody sends anything would make every site late by that pause.
    """
    return {
        "config": {
            "chainId": chain.chain_id,
            "londonBlock": 0,
            "shanghaiTime": 0,
            "cancunTime": 0,
            "zeroBaseFee": True,
            "qbft": {
                "blockperiodseconds": chain.block_seconds,
                "epochlength": _EPOCH_BLOCKS,
                "requesttimeoutseconds": 2 * chain.block_seconds,
            },
        },
        "nonce": "0x0",
        "timestamp": "0x0",
        "extraData": extra_data(validator.address for validator in chain.validators),
        "gasLimit": _NO_GAS_LIMIT,
        "baseFeePerGas": "0x0",
        "difficulty": "0x1",
        "mixHash": _MIX_HASH,
        "coinbase": "0x" + "00" * 20,
        "alloc": {},
    }


def genesis_file(chain: Chain) -> bytes:
    """Give genesis.json."""
    return (json.dumps(genesis(chain), indent=2) + "\n").encode()
