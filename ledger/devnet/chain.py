"""Making the devnet's blocks: journal first, then mine.

anvil mines nothing by itself, and nobody sends to it but us. What is sent is put to anvil's pool, which says whether it
is valid; then the batch is written to the disk as the next block's, and only then is the block mined. So there is never
a receipt of a transaction that a restart would lose. All that enters the pool is on record in its order, so that doing
it again gives the same blocks, hash by hash.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

from ledger.devnet.journal import Journal, Record
from ledger.errors import DevnetError, JournalInvalid, LedgerError, RpcRefused
from ledger.rpc import Rpc, block_header, quantity

HEARTBEAT_SECONDS: Final = 1.0
SLOWEST_HEARTBEAT_SECONDS: Final = 15.0
_IDLE_PER_HEARTBEAT: Final = 30.0
_LARGEST_BATCH: Final = 200
_log = logging.getLogger(__name__)


def beat_after(idle: float) -> float:
    """Give the seconds between empty blocks when the last transaction is `idle` seconds ago.

    Empty blocks move the chain's time, so deadlines are noticed within a thirtieth of the wait; a chain that is left
    alone for a week grows by 40,000 blocks and not by 600,000.
    """
    return min(max(idle / _IDLE_PER_HEARTBEAT, HEARTBEAT_SECONDS), SLOWEST_HEARTBEAT_SECONDS)


@dataclass(slots=True)
class _Order:
    """Something for the miner to do: mine a transaction, or move the clock by some seconds."""

    transaction: str | None = None
    seconds: int = 0
    digest: str = ""
    done: "Future[dict[str, Any] | None]" = field(default_factory=Future)


class Chain:
    """The chain that one anvil holds for one journal. Safe to use from several threads once `run` runs in its own."""

    def __init__(self, rpc: Rpc, journal: Journal, clock: Callable[[], float] = time.time) -> None:
        self._rpc = rpc
        self._journal = journal
        self._clock = clock
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._number = 0
        self._timestamp = journal.genesis_time
        self._hash = ""
        self._ahead = 0
        self._last_block = self._last_transaction = clock()
        self._lock = threading.Lock()
        self._failure: DevnetError | None = None

    def send(self, transaction: str) -> tuple[str, dict[str, Any] | None]:
        """Have a raw transaction mined; gives its hash and receipt, None where it waits for another nonce.

        Raises RpcRefused where anvil won't have it, DevnetError where the chain has ended.
        """
        order = self._order(_Order(transaction=transaction))
        return order.digest, order.done.result()

    def advance(self, seconds: int) -> None:
        """Move the chain's clock ahead of ours, from now on, and mine a block at the new time."""
        self._order(_Order(seconds=seconds)).done.result()

    def stop(self) -> None:
        """Have `run` return."""
        self._orders.put(None)

    def replay(self, records: Sequence[Record]) -> None:
        """Make the recorded chain again; raises JournalInvalid where it becomes another one."""
        self._note(block_header(self._rpc, "latest"))
        for run in _runs(records, self._timestamp):
            if len(run) > 1:
                self._rpc.call("anvil_setBlockTimestampInterval", run[0].timestamp - self._timestamp)
                self._rpc.call("anvil_mine", quantity(len(run)))
                self._rpc.call("anvil_removeBlockTimestampInterval")
            else:
                self._replay_block(run[0])
            self._timestamp = run[-1].timestamp
        self._note(block_header(self._rpc, "latest"))
        if self._number != len(records):
            raise JournalInvalid(f"{self._journal.path} records {len(records)} blocks and {self._number} were mined")
        self._ahead = max(0, self._timestamp - int(self._clock()))
        self._mine([])  # so that the head's time is today's

    def run(self) -> None:
        """Mine until told to stop, or until anvil has gone."""
        orders: list[_Order] = []
        try:
            while True:
                orders = self._wait()
                if orders and orders[-1] is _STOP:
                    orders.pop()
                    break
                self._work(orders)
        except (LedgerError, OSError) as error:
            _log.error("the devnet has ended: %s", error)
            self._end(orders, DevnetError(f"the devnet has ended: {error}"))
        else:
            self._end(orders, DevnetError("the devnet was stopped"))

    def _order(self, order: _Order) -> _Order:
        with self._lock:
            if self._failure is not None:
                raise self._failure
            self._orders.put(order)
        order.done.exception()  # wait, whatever comes
        return order

    def _end(self, orders: Sequence[_Order], failure: DevnetError) -> None:
        """Give up what is waiting, and take no more."""
        with self._lock:
            self._failure = failure
        waiting = list(orders)
        while not self._orders.empty():
            order = self._orders.get()
            if order is not None:
                waiting.append(order)
        for order in waiting:
            if not order.done.done():
                order.done.set_exception(failure)

    def _wait(self) -> list[_Order]:
        """Wait for orders, or for the next heartbeat; what came together is done together."""
        orders: list[_Order] = []
        try:
            order = self._orders.get(timeout=self._until_heartbeat())
            while True:
                if order is None:
                    return [*orders, _STOP]
                orders.append(order)
                if len(orders) == _LARGEST_BATCH:
                    break
                order = self._orders.get_nowait()
        except queue.Empty:
            pass
        return orders

    def _until_heartbeat(self) -> float:
        now = self._clock()
        period = beat_after(now - self._last_transaction)
        return max(0.0, min(self._last_block + period - now, period))

    def _work(self, orders: Sequence[_Order]) -> None:
        self._ahead += sum(order.seconds for order in orders)
        accepted = [order for order in orders if order.transaction is not None and self._accept(order)]
        if accepted or self._until_heartbeat() == 0 or any(order.seconds for order in orders):
            self._mine([order.transaction for order in accepted if order.transaction is not None])
        waiting = accepted
        while waiting:
            left = [order for order in waiting if not self._settle(order)]
            if len(left) == len(waiting):
                break  # they wait for other nonces
            if left:
                self._mine([])  # the block was full
            waiting = left
        for order in orders:
            if not order.done.done():
                order.done.set_result(None)

    def _accept(self, order: _Order) -> bool:
        """Put a transaction to anvil's pool."""
        try:
            order.digest = self._rpc.call("eth_sendRawTransaction", order.transaction)
        except RpcRefused as refusal:
            order.done.set_exception(refusal)
            return False
        return True

    def _settle(self, order: _Order) -> bool:
        receipt = self._rpc.call("eth_getTransactionReceipt", order.digest)
        if receipt is None:
            return False
        order.done.set_result(receipt)
        return True

    def _mine(self, transactions: Sequence[str]) -> None:
        timestamp = max(self._timestamp, int(self._clock()) + self._ahead)
        parent = self._hash if transactions else None
        record = Record(self._number + 1, timestamp, tuple(transactions), parent)
        self._journal.append(record, durable=bool(transactions))
        self._rpc.call("evm_mine", {"timestamp": quantity(timestamp)})
        self._note(block_header(self._rpc, "latest"))
        if self._number != record.number:
            raise DevnetError(f"anvil is at block {self._number} where {record.number} was mined: somebody else mines")
        self._last_block = self._clock()
        if transactions:
            self._last_transaction = self._last_block

    def _replay_block(self, record: Record) -> None:
        if record.parent is not None and (found := block_header(self._rpc, "latest")["hash"]) != record.parent:
            raise JournalInvalid(
                f"block {record.number - 1} has become {found} and was {record.parent}: {self._journal.path} was "
                "changed, or written with another version of anvil"
            )
        for raw in record.transactions:
            try:
                self._rpc.call("eth_sendRawTransaction", raw)
            except RpcRefused as refusal:
                raise JournalInvalid(f"a transaction of block {record.number} is refused now: {refusal}") from refusal
        self._rpc.call("evm_mine", {"timestamp": quantity(record.timestamp)})

    def _note(self, block: Any) -> None:
        self._number = int(block["number"], 16)
        self._timestamp = int(block["timestamp"], 16)
        self._hash = block["hash"]


_STOP: Final = _Order()


def _runs(records: Sequence[Record], genesis_time: int) -> list[list[Record]]:
    """Group blocks without transactions that follow their predecessors at one distance in time; others stand alone."""
    runs: list[list[Record]] = []
    before, pace = genesis_time, 0
    for record in records:
        step, before = record.timestamp - before, record.timestamp
        if runs and step == pace > 0 and not record.transactions:
            runs[-1].append(record)
        else:
            runs.append([record])
        pace = 0 if record.transactions else step
    return runs
