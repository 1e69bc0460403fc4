"""What a study cost on the chain: transactions, gas and bytes, as the blocks have them."""

from dataclasses import dataclass

from ledger.rpc import Rpc


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
    return {tx: _usage(rpc, tx) for tx in transactions}


def _usage(rpc: Rpc, tx: bytes) -> Usage:
    name = "0x" + tx.hex()
    receipt = rpc.call("eth_getTransactionReceipt", name)
    call = rpc.call("eth_getTransactionByHash", name)
    return Usage(1, int(receipt["gasUsed"], 16), (len(call["input"]) - 2) // 2)
