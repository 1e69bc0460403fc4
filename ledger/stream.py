"""Following the contracts' events: each one once, in order, from any block, across outages and restarts."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, takewhile
from typing import Any, Final, Self, TypeVar

from eth_hash.auto import keccak

from ledger.calls import Calls
from ledger.errors import ChainMismatch, LedgerError, RpcRefused, RpcUnreachable
from ledger.events import Event
from ledger.rpc import data, quantity, read_number
from ledger.types import Block

CHUNK_BLOCKS: Final = 2000
_WALKED_BLOCKS: Final = 16
_AT_ONCE: Final = 8  # calls to the node
_STEPS_BACK: Final = 64
_Answer = TypeVar("_Answer")
_WHOLE_BLOCK: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a reader has read: up to and including one log of one block, or all of that block.

    `hash` is the block's, None before the first block was read. Two cursors of one chain compare by
    (block, log_index).
    """

    block: int
    hash: bytes | None
    log_index: int = _WHOLE_BLOCK

    @classmethod
    def after(cls, event: Event) -> Self:
        """Give the cursor of a reader who has dealt with this event, and with none after it."""
        return cls(event.at.block, event.at.block_hash, event.at.log_index)

    def to_json(self) -> list[Any]:
        """Give a list that JSON can hold."""
        return [self.block, None if self.hash is None else self.hash.hex(), self.log_index]

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what `to_json` gave; raises ValueError."""
        match value:
            case [int(block), None, int(log_index)]:
                return cls(block, None, log_index)
            case [int(block), str(digits), int(log_index)] if len(digits) == 64:
                return cls(block, bytes.fromhex(digits), log_index)
        raise ValueError(f"{value!r} is not a cursor: [block, hash, log index]")


class EventStream:
    """Reads both contracts' events from a ledger. Safe to use from several threads.

    `poll` costs one call where there is no new block, two for a block without events of ours, three for one with.
    Several new blocks cost no more time than that: they are asked for at once.
    `calls` is how many the last one made; poll every 50 to 250 ms while something is expected. `tip` is the newest
    block that was read, None before the first; `head` is what the node called its newest one in the last poll.

    Where the node takes back blocks that held nothing of ours (it had lied, or a block was replaced), the stream steps
    back to where they parted and goes on: nothing was told of them. It never steps back over an event.
    """

    def __init__(self, ledger: Calls, cursor: Cursor | None = None, *, chunk: int = CHUNK_BLOCKS) -> None:
        """Begin after the cursor, or with the first event of the deployment; `chunk` is the most blocks per query."""
        self._ledger = ledger
        self._cursor = cursor if cursor is not None else Cursor(ledger.deployment.block - 1, None)
        self._chunk = self._size = chunk
        self._addresses = [ledger.deployment.consortium, ledger.deployment.study]
        self._blooms = [bloom_bits(address) for address in self._addresses]
        self._is_checked = False
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        self._eventless: deque[Cursor] = deque(maxlen=_STEPS_BACK)  # whole blocks that were read since the last event
        self.calls = 0
        self.head = -1
        self.tip: Block | None = None

    @property
    def cursor(self) -> Cursor:
        """How far this stream has read; keep it, and give it to the next stream to go on there."""
        return self._cursor

    def poll(self, most: int | None = None) -> list[Event]:
        """Give the events since the last poll, in order; empty where nothing happened or the node lags behind.

        With `most` it stops after the piece with which there are so many, for a reader who keeps them piece by piece.

        Raises RpcError where the node couldn't be asked, ChainMismatch where it serves another history than before.
        Either way nothing is lost: the next poll goes on from the same place.
        """
        with self._lock:
            try:
                return self._poll(most)
            except LedgerError:
                raise
            except (KeyError, TypeError, ValueError) as error:
                raise RpcUnreachable(f"the chain's node answers with something that is no block: {error!r}") from error

    def _poll(self, most: int | None) -> list[Event]:
        self.calls = 0
        head = self.head = read_number(self._call("eth_blockNumber"))
        if not self._is_checked or head < self._cursor.block:
            self._check_chain(head)
        events: list[Event] = []
        while self._cursor.block < head or (self._cursor.block == head and self._cursor.log_index != _WHOLE_BLOCK):
            try:
                found = self._read_on(head)
            except LedgerError:
                if events:  # deliver what is sure; what was wrong will be met again by the next poll
                    return events
                raise
            if found is None:
                break
            events += found
            if most is not None and len(events) >= most:
                break
        return events

    def _read_on(self, head: int) -> list[Event] | None:
        """Read the next piece and move the cursor; None where the node doesn't have it yet."""
        if self._cursor.log_index != _WHOLE_BLOCK:
            return self._finish_block()
        if head - self._cursor.block > _WALKED_BLOCKS:
            return self._read_range(min(head - _WALKED_BLOCKS, self._cursor.block + self._size))
        if head - self._cursor.block > 1:
            try:
                return self._read_together(head)
            except LedgerError:  # one by one, so that what comes before the trouble is delivered
                return self._read_block()
        return self._read_block()

    def _finish_block(self) -> list[Event] | None:
        """Read the rest of a block of which only the first logs were dealt with."""
        header = self._header(self._cursor.block)
        if header is None:
            return None
        if _hash(header) != self._cursor.hash:
            raise self._other_history()
        done = self._cursor.log_index
        events = [event for event in self._logs_of(header) if event.at.log_index > done]
        self._cursor = Cursor(self._cursor.block, self._cursor.hash)
        return events

    def _read_block(self) -> list[Event] | None:
        """Read one block near the head: its header, which must follow on ours, and its logs by its hash."""
        header = self._header(self._cursor.block + 1)
        if header is None:
            return None
        if not _follows(header, self._cursor.hash):
            self._step_back(header)
            return None  # once a poll, or a node could lead us in circles
        events = self._logs_of(header) if self._has_events(header) else []
        self._advance(header, events)
        return events

    def _read_together(self, head: int) -> list[Event] | None:
        """Read the blocks up to the head, all of them at once: where the node is far away, one by one is too slow.

        A chain that makes blocks faster than two calls take would never be caught up with.
        """
        found = self._at_once(self._header, range(self._cursor.block + 1, head + 1))
        headers = [header for header in takewhile(lambda header: header is not None, found) if header is not None]
        if not headers:
            return None
        parent = self._cursor.hash
        for header in headers:
            if not _follows(header, parent):
                raise self._other_history()
            parent = _hash(header)
        with_events = list(filter(self._has_events, headers))
        logs = {
            _hash(header): found
            for header, found in zip(with_events, self._at_once(self._logs_of, with_events), strict=True)
        }
        for header in headers:
            self._advance(header, logs.get(_hash(header), []))
        return list(chain.from_iterable(logs.values()))

    def _at_once(self, ask: Callable[[Any], _Answer], questions: Iterable[Any]) -> list[_Answer]:
        """Ask several questions of the node at the same time; gives the answers in order."""
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            return list(threads.map(ask, questions))

    def _has_events(self, header: Mapping[str, Any]) -> bool:
        bloom = int(header["logsBloom"], 16)
        return any(bloom & bits == bits for bits in self._blooms)

    def _read_range(self, last: int) -> list[Event] | None:
        """Read many old blocks at once."""
        self._check_cursor()
        header = self._header(last)
        if header is None:
            return None
        query = {"fromBlock": quantity(self._cursor.block + 1), "toBlock": quantity(last), "address": self._addresses}
        try:
            logs = self._call("eth_getLogs", query)
        except RpcRefused:
            if last - self._cursor.block == 1:
                raise
            self._size = max(1, (last - self._cursor.block) // 2)  # some nodes refuse long ranges
            return []
        timestamps: dict[str, int] = {}
        events = [self._ledger.decode(log, self._timestamp(log, timestamps)) for log in logs]
        events.sort(key=lambda event: event.at)
        self._advance(header, events)
        self._size = min(2 * self._size, self._chunk)
        return events

    def _advance(self, header: Mapping[str, Any], events: Sequence[Event]) -> None:
        """Count a block, and all up to it, as read."""
        if events:
            self._eventless.clear()
        self._cursor = Cursor(int(header["number"], 16), _hash(header))
        self._eventless.append(self._cursor)
        self.tip = _block(header)

    def _step_back(self, following: Mapping[str, Any] | None = None) -> None:
        """Go back to the newest block that the node still has; raises ChainMismatch where events lie between.

        `following` is a block that does not follow on the cursor's.
        """
        for known in reversed(self._eventless):
            header = self._header(known.block)
            if header is not None and _hash(header) == known.hash:
                if following is not None and known == self._cursor:
                    raise ChainMismatch(
                        f"the node's block {int(following['number'], 16)} does not follow on its block {known.block}: "
                        "it serves two histories at once; is it several nodes behind one address?"
                    )
                while self._eventless[-1] != known:
                    self._eventless.pop()
                self._cursor, self.tip = known, _block(header)
                return
        raise self._other_history()

    def _timestamp(self, log: Mapping[str, Any], known: dict[str, int]) -> int:
        """Give the timestamp of a log's block, from the log itself where the node adds it."""
        if log.get("blockTimestamp") is not None:
            return int(log["blockTimestamp"], 16)
        number = str(log["blockNumber"])
        if number not in known:
            header = self._header(int(number, 16))
            if header is None:
                raise ChainMismatch(f"the node gives logs of block {number}, and has no such block")
            known[number] = int(header["timestamp"], 16)
        return known[number]

    def _logs_of(self, header: Mapping[str, Any]) -> list[Event]:
        # Asked by hash, a node that lacks the block says so, where by number it might answer with no logs.
        try:
            logs = self._call("eth_getLogs", {"blockHash": header["hash"], "address": self._addresses})
        except RpcRefused as refusal:
            raise RpcRefused(
                refusal.number,
                f"{refusal.message}: it has no logs for block {int(header['number'], 16)} by the hash that it gave",
                refusal.data,
            ) from refusal
        return [self._ledger.decode(log, int(header["timestamp"], 16)) for log in logs]

    def _check_chain(self, head: int) -> None:
        """Make sure that this is still the chain of the deployment, and of the cursor."""
        genesis = self._header(0)
        if genesis is None or _hash(genesis) != self._ledger.deployment.genesis:
            raise ChainMismatch(
                "the node serves a chain with another genesis than the deployment's: it was reset, or is another one"
            )
        if head >= self._cursor.block:
            self._check_cursor()
            self._is_checked = True

    def _check_cursor(self) -> None:
        if self._cursor.hash is None:
            return
        header = self._header(self._cursor.block)
        if header is not None and _hash(header) != self._cursor.hash:
            self._step_back()

    def _other_history(self) -> ChainMismatch:
        seen = "" if self._cursor.hash is None else f" ({data(self._cursor.hash)})"
        return ChainMismatch(
            f"block {self._cursor.block}{seen} that this site has read is not on the node's chain: its history was "
            "rewritten or reset; compare with another site's node"
        )

    def _header(self, number: int) -> Mapping[str, Any] | None:
        header: Mapping[str, Any] | None = self._call("eth_getBlockByNumber", quantity(number), False)
        return header

    def _call(self, method: str, *params: Any) -> Any:
        with self._counting:
            self.calls += 1
        return self._ledger.rpc.call(method, *params)


def _follows(header: Mapping[str, Any], parent: bytes | None) -> bool:
    return parent is None or bytes.fromhex(header["parentHash"][2:]) == parent


def _hash(header: Mapping[str, Any]) -> bytes:
    return bytes.fromhex(header["hash"][2:])


def _block(header: Mapping[str, Any]) -> Block:
    return Block(int(header["number"], 16), _hash(header), int(header["timestamp"], 16))


def bloom_bits(address: str) -> int:
    """Give the three bits of a block's bloom filter that are set where the address has written a log."""
    digest = keccak(bytes.fromhex(address[2:]))
    bits = 0
    for index in (0, 2, 4):
        bits |= 1 << (int.from_bytes(digest[index : index + 2], "big") & 2047)
    return bits
