"""Making the devnet's blocks: journal first, then mine.

anvil collects transactions and mines nothing by itself. For each batch of new ones the miner writes the block's
timestamp and transactions to the disk and only then has anvil mine it, so that no receipt ever exists of a transaction
that a restart would lose. A transaction that slips into a block between the two is found right after and corrected.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from ledger.devnet.feed import Feed
from ledger.devnet.journal import Journal, Record
from ledger.errors import JournalInvalid, RpcRefused

HEARTBEAT_SECONDS: Final = 1.0
SLOWEST_HEARTBEAT_SECONDS: Final = 15.0
_IDLE_PER_HEARTBEAT: Final = 30.0


def beat_after(idle: float) -> float:
    """Give the seconds between empty blocks when the last transaction is `idle` seconds ago.

    Empty blocks move the chain's time, so deadlines are noticed within a thirtieth of the wait; a chain that is left
    alone for a week grows by 40,000 blocks and not by 600,000.
    """
    return min(max(idle / _IDLE_PER_HEARTBEAT, HEARTBEAT_SECONDS), SLOWEST_HEARTBEAT_SECONDS)


class Miner:
    """Mines on one anvil, for one journal. Not safe to use from several threads at once."""

    def __init__(self, feed: Feed, journal: Journal, clock: Callable[[], float] = time.time) -> None:
        self._feed = feed
        self._journal = journal
        self._clock = clock
        self._number = 0
        self._timestamp = journal.genesis_time
        self._hash = ""
        self._ahead = 0
        self._left_over: list[str] = []
        self._early: set[str] = set()  # mined before their notification came
        self._last_block = self._last_transaction = clock()

    def replay(self, records: Sequence[Record]) -> None:
        """Make the recorded chain again; raises JournalInvalid where it becomes another one."""
        self._hash = self._latest()["hash"]
        for run in _runs(records, self._timestamp):
            if len(run) > 1:
                self._feed.call("anvil_setBlockTimestampInterval", run[0].timestamp - self._timestamp)
                self._feed.call("anvil_mine", hex(len(run)))
                self._feed.call("anvil_removeBlockTimestampInterval")
            else:
                self._replay_block(run[0])
            self._timestamp = run[-1].timestamp
        self._note(self._latest())
        if self._number != len(records):
            raise JournalInvalid(f"{self._journal.path} records {len(records)} blocks and {self._number} were mined")
        self._ahead = max(0, self._timestamp - int(self._clock()))

    def until_heartbeat(self) -> float:
        """Say how many seconds are left until an empty block is due; the longer nothing happened, the rarer."""
        now = self._clock()
        period = beat_after(now - self._last_transaction)
        return max(0.0, min(self._last_block + period - now, period))

    def advance(self, seconds: int) -> None:
        """Move the chain's clock ahead of ours, from now on, and mine a block at the new time."""
        self.follow()
        self._ahead += seconds
        self.mine([])

    def follow(self) -> None:
        """Mine what has arrived, or an empty block where one is due; nothing otherwise."""
        arrived = self._feed.new_transactions()
        fresh = [tx for tx in arrived if tx not in self._early]
        self._early.difference_update(arrived)
        if fresh or self._left_over or self.until_heartbeat() == 0:
            self.mine(fresh)

    def mine(self, transactions: Sequence[str]) -> None:
        """Mine a block with these transactions, given by hash, and with whatever was left over before."""
        wanted = [*self._left_over, *transactions]
        known = [(tx, raw) for tx in wanted if (raw := self._feed.call("eth_getRawTransactionByHash", tx)) is not None]
        record = Record(
            self._number + 1,
            max(self._timestamp, int(self._clock()) + self._ahead),
            tuple(raw for _, raw in known),
            self._hash if known else None,
        )
        self._journal.append(record, durable=bool(known))
        self._feed.call("evm_mine", {"timestamp": hex(record.timestamp)})
        latest = self._latest()
        expected = (record.number, record.timestamp, [tx for tx, _ in known])
        if (int(latest["number"], 16), int(latest["timestamp"], 16), latest["transactions"]) != expected:
            self._correct(record.number, int(latest["number"], 16), wanted)
        self._note(latest)
        self._last_block = self._clock()
        if latest["transactions"]:
            self._last_transaction = self._last_block
        self._left_over = self._pending([tx for tx, _ in known], latest["transactions"])

    @property
    def must_hurry(self) -> bool:
        """Whether transactions wait that found no room in the last block, or came while it was made."""
        return bool(self._left_over) or self._feed.has_news

    def _replay_block(self, record: Record) -> None:
        if record.parent is not None and (found := self._latest()["hash"]) != record.parent:
            raise JournalInvalid(
                f"block {record.number - 1} has become {found} and was {record.parent}: {self._journal.path} was "
                "changed, or written with another version of anvil"
            )
        for raw in record.transactions:
            try:
                self._feed.call("eth_sendRawTransaction", raw)
            except RpcRefused as refusal:
                raise JournalInvalid(f"a transaction of block {record.number} is refused now: {refusal}") from refusal
        self._feed.call("evm_mine", {"timestamp": hex(record.timestamp)})

    def _correct(self, first: int, last: int, notified: Sequence[str]) -> None:
        """Record the blocks as they are: somebody else mined, or a transaction slipped in."""
        for number in range(first, last + 1):
            block = self._feed.call("eth_getBlockByNumber", hex(number), False)
            raws = tuple(self._feed.call("eth_getRawTransactionByHash", tx) for tx in block["transactions"])
            record = Record(number, int(block["timestamp"], 16), raws, block["parentHash"])
            self._journal.append(record, durable=True)
            self._early.update(tx for tx in block["transactions"] if tx not in notified)

    def _pending(self, wanted: Sequence[str], mined: Sequence[str]) -> list[str]:
        """Give those of the wanted that weren't mined and still can be."""
        rest = [tx for tx in wanted if tx not in mined]
        if not mined:  # no progress: try again at the next heartbeat, not at once
            return []
        found = [(tx, self._feed.call("eth_getTransactionByHash", tx)) for tx in rest]
        return [tx for tx, body in found if body is not None and body["blockNumber"] is None]

    def _latest(self) -> Any:
        return self._feed.call("eth_getBlockByNumber", "latest", False)

    def _note(self, block: Any) -> None:
        self._number = int(block["number"], 16)
        self._timestamp = int(block["timestamp"], 16)
        self._hash = block["hash"]


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
