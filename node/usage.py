"""What a study cost on the chain: transactions, gas and bytes, as the blocks have them."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from ledger.rpc import Rpc
from ledger.types import Address


@dataclass(frozen=True, slots=True)
class Usage:
    """Transactions, their gas, and their bytes of call data."""

    transactions: int = 0
    gas: int = 0
    bytes: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.transactions + other.transactions, self.gas + other.gas, self.bytes + other.bytes)


def usage_of(rpc: Rpc, transactions: set[bytes]) -> dict[bytes, Usage]:
    """What each of these transactions cost."""
    return {tx: _usage(rpc, tx)[1] for tx in transactions}


def usage_by_sender(rpc: Rpc, transactions: Iterable[bytes]) -> dict[Address, Usage]:
    """What these transactions cost each account that sent some of them; accounts are in lower case."""
    spent: defaultdict[Address, Usage] = defaultdict(Usage)
    for tx in set(transactions):
        sender, usage = _usage(rpc, tx)
        spent[sender] += usage
    return dict(spent)


def _usage(rpc: Rpc, tx: bytes) -> tuple[Address, Usage]:
    name = "0x" + tx.hex()
    receipt = rpc.call("eth_getTransactionReceipt", name)
    call = rpc.call("eth_getTransactionByHash", name)
    return receipt["from"].lower(), Usage(1, int(receipt["gasUsed"], 16), (len(call["input"]) - 2) // 2)
