"""Keeping the index in step with the chain: forward, and back where the newest blocks were replaced."""

from typing import Final

from ledger.calls import Calls
from ledger.errors import ChainMismatch, IndexRewritten
from ledger.index.store import IndexStore
from ledger.rpc import block_header, quantity
from ledger.stream import Cursor, EventStream
from ledger.types import Block

PROVISIONAL_BLOCKS: Final = 12
"""How many of the newest blocks may yet be replaced, on a chain that has no finality of its own."""
STEP_EVENTS: Final = 5_000


class Indexer:
    """Reads a chain into an index. `provisional` is how many of the newest blocks may be replaced (0 with QBFT).

    Each step is one transaction, and starts where the last one ended: killed anywhere, nothing is lost or doubled.
    """

    def __init__(self, ledger: Calls, store: IndexStore, *, provisional: int = PROVISIONAL_BLOCKS) -> None:
        self._ledger = ledger
        self._store = store
        self._provisional = provisional
        self._stream = EventStream(ledger, store.cursor())
        self.rolled_back = 0

    def catch_up(self) -> int:
        """Read all that is new; gives how many events came in.

        Raises RpcError where the node can't be asked, and IndexRewritten where it serves a history in which blocks
        that were final are others.
        """
        total = 0
        while True:
            came = self._step()
            if came is None:
                return total
            total += came

    def _step(self) -> int | None:
        """Read one piece; None where there is nothing new."""
        before = self._stream.cursor
        try:
            events = self._stream.poll(STEP_EVENTS)
            after = self._stream.cursor
            if after == before:
                self._check_newest(after)
                return None
            newest = self._newest(after)
        except ChainMismatch:
            self._go_back()
            return 0
        self._store.append(events, newest, after, max(1, after.block - self._provisional + 1))
        return len(events)

    def _check_newest(self, cursor: Cursor) -> None:
        """Make sure that the last block is still there; raises ChainMismatch."""
        if cursor.hash is not None and self._head() >= cursor.block and self._block(cursor.block).hash != cursor.hash:
            raise ChainMismatch(f"block {cursor.block} was replaced")

    def _newest(self, cursor: Cursor) -> list[Block]:
        """Read the blocks that may yet be replaced, and the last one, where they aren't in the index yet."""
        first = max(0, cursor.block - self._provisional)
        known = self._store.blocks(first, cursor.block)
        blocks = [self._block(number) for number in range(first, cursor.block + 1) if number not in known]
        if blocks and blocks[-1].number == cursor.block and blocks[-1].hash != cursor.hash:
            raise ChainMismatch(f"block {cursor.block} was replaced while it was being read")
        return blocks

    def _go_back(self) -> None:
        """Take back what was replaced, or refuse where that was final."""
        if self._block(0).hash != self._ledger.deployment.genesis:
            raise IndexRewritten("the node serves a chain with another genesis than the deployment's")
        cursor = self._store.cursor()
        if cursor is not None:
            last = self._last_common(cursor)
            self.rolled_back += cursor.block - (last.number if last is not None else 0)
            self._store.roll_back(last)
        self._stream = EventStream(self._ledger, self._store.cursor())

    def _last_common(self, cursor: Cursor) -> Block | None:
        """Find the newest block of the index that is on the chain; None where there is none, and all of it is young."""
        floor = max(0, cursor.block - self._provisional)
        known = self._store.blocks(floor, cursor.block)
        head = self._head()
        for number in sorted(known, reverse=True):
            if number <= head and self._block(number).hash == known[number].hash:
                return known[number]
        if self._store.blocks(0, floor):
            raise IndexRewritten(
                f"the chain differs from block {floor} on, which was final: its history was rewritten, or the node is "
                "another chain's; keep this index as evidence, and compare with another site's node"
            )
        return None

    def _head(self) -> int:
        return int(self._ledger.rpc.call("eth_blockNumber"), 16)

    def _block(self, number: int) -> Block:
        header = block_header(self._ledger.rpc, quantity(number))
        return Block(number, bytes.fromhex(header["hash"][2:]), int(header["timestamp"], 16))
