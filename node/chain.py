"""The ledger as a live value under trio: what has happened so far, and writes that return once they are seen."""

import math
from collections.abc import Callable, Mapping

import trio

from ledger.calls import Receipt
from ledger.client import Ledger
from ledger.errors import RpcError
from ledger.state import ConsortiumState, LedgerState, StudyState
from ledger.stream import Cursor, EventStream
from ledger.types import Block
from node import log
from node.network.port import Started

MAX_BACKOFF = 5.0
QUIET_SHARE = 0.04
LONGEST_PAUSE = 0.5


def pause_after(quiet: float, poll_seconds: float) -> float:
    """Give the seconds until the ledger is asked again when its last event is `quiet` seconds ago.

    The longer nothing happened, the rarer: news is late by a small share of the silence before it, and sites that
    move or train large models for seconds don't ask hundreds of times meanwhile.
    """
    return max(poll_seconds, min(QUIET_SHARE * quiet, LONGEST_PAUSE))


class Chain:
    """Follows the ledger's events in a thread and keeps the folded state.

    Chain time is the newest block's timestamp plus the time since that block was seen: the local wall clock is never
    compared with the ledger's, so its error does not matter.
    """

    def __init__(self, ledger: Ledger, stream: EventStream, poll_seconds: float) -> None:
        self.ledger = ledger
        self._state = LedgerState()
        self.reachable = True
        self.rpc_errors = 0
        self._stream = stream
        self._poll_seconds = poll_seconds
        self._changed = trio.Event()
        self._poke = trio.Event()
        self._polled = trio.Event()
        self._tip = Block(-1, bytes(32), 0)
        self._head_time = -math.inf
        self._head_seen = 0.0
        self._news_seen = -math.inf
        self._log = log.get()

    @property
    def consortium(self) -> ConsortiumState:
        """Members and motions."""
        return self._state.consortium

    @property
    def studies(self) -> Mapping[int, StudyState]:
        """The studies by number."""
        return self._state.studies

    @property
    def tip(self) -> Block:
        """The newest block whose events are folded in: the history that a commit of ours rests on."""
        return self._tip

    @property
    def block(self) -> int:
        """The number of that block."""
        return self._tip.number

    def snapshot(self) -> tuple[LedgerState, Cursor | None]:
        """What the ledger said so far, and how far that is: from there another reader can go on."""
        return self._state, Cursor(self._tip.number, self._tip.hash) if self._tip.number >= 0 else None

    def head_age(self) -> float:
        """Seconds since the newest block was first seen, by this machine's clock."""
        return trio.current_time() - self._head_seen

    def now(self) -> float:
        """Chain time in seconds."""
        return self._head_time + trio.current_time() - self._head_seen

    async def follow(self, task_status: Started = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the state current, for ever; started once the present state is folded in.

        A node that can't be asked is asked again, later and later; only the first time raises RpcError. Raises
        ChainMismatch where the chain is another one than before.
        """
        await self._poll()
        task_status.started()
        pause = self._poll_seconds
        while True:
            with trio.move_on_after(pause):
                await self._poke.wait()
            try:
                await self._poll()
            except RpcError as error:
                if self.reachable:
                    self._log.warning("rpc_unreachable", reason=str(error))
                self.reachable = False
                self.rpc_errors += 1
                pause = min(2 * pause, MAX_BACKOFF)
                continue
            if not self.reachable:
                self._log.info("rpc_reachable_again", block=self._tip.number)
                self._news_seen = trio.current_time()
            self.reachable = True
            pause = pause_after(trio.current_time() - self._news_seen, self._poll_seconds)

    async def changed(self) -> None:
        """Await the next event."""
        await self._changed.wait()

    async def changed_or(self, until: float | None) -> None:
        """Await the next event, or that chain time, whichever comes first."""
        with trio.move_on_after(math.inf if until is None else max(0.0, until - self.now())):
            await self.changed()

    async def submit(self, send: Callable[[], Receipt]) -> Receipt:
        """Send a transaction in a thread and return once its block's events are folded in."""
        receipt = await trio.to_thread.run_sync(send)
        while self._tip.number < receipt.block:
            self._poke.set()
            await self._polled.wait()
        return receipt

    async def _poll(self) -> None:
        self._poke = trio.Event()
        events = await trio.to_thread.run_sync(self._stream.poll)
        tip = self._stream.tip
        if tip is not None and tip.number > self._tip.number:
            self._tip, self._head_time, self._head_seen = tip, tip.timestamp, trio.current_time()
        self._state = self._state.fold(events)
        self._polled.set()
        self._polled = trio.Event()
        if events:
            self._news_seen = trio.current_time()
            self._changed.set()
            self._changed = trio.Event()
