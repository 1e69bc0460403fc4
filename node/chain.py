"""The ledger as a live value under trio: what has happened so far, and writes that return once they are seen."""

import math
from collections.abc import Callable, Mapping

import trio

from ledger.calls import Receipt
from ledger.client import Ledger
from ledger.errors import ChainMismatch, EventInvalid, RpcDistrusted, RpcError
from ledger.state import ConsortiumState, LedgerState, StudyState
from ledger.stream import Cursor, EventStream
from ledger.types import Block
from node import log
from node.network.port import Started

MAX_BACKOFF = 5.0
QUIET_SHARE = 0.04
LONGEST_PAUSE = 0.5
HEAD_SECONDS = 120.0


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

    `trouble` says in a sentence what is wrong with the chain's node, or is empty; `reachable` is whether it answers.
    No trouble of a node ends the following: it goes on with what the node says once it is well again.
    """

    def __init__(
        self,
        ledger: Ledger,
        stream: EventStream,
        poll_seconds: float,
        *,
        head_seconds: float = HEAD_SECONDS,
        move_on: Callable[[str], object] = lambda why: None,
    ) -> None:
        """Follow what the stream reads.

        A node whose newest block is the same for `head_seconds` counts as behind. `move_on` is told why another node
        should be asked, where there is one.
        """
        self.ledger = ledger
        self._state = LedgerState()
        self.reachable = True
        self.trouble = ""
        self._noted = ""
        self._contradicts = False
        self.rpc_errors = 0
        self._stream = stream
        self._poll_seconds = poll_seconds
        self._head_seconds = head_seconds
        self._move_on = move_on
        self._moved_on_at = -math.inf
        self._changed = trio.Event()
        self._poke = trio.Event()
        self._polled = trio.Event()
        self._recovery = trio.Event()
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

        A node that can't be asked, or serves another history than before, is asked again, later and later; only the
        first time raises RpcError or ChainMismatch.
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
                self.reachable = False
                self.rpc_errors += 1
                self._note("rpc_unreachable", str(error))
            except (ChainMismatch, EventInvalid) as error:
                self._contradicts = True
                self._note("rpc_contradicts", f"{error}. This site writes nothing until its node serves that again")
                self._move_on(str(error))
            else:
                self._is_well()
                pause = pause_after(trio.current_time() - self._news_seen, self._poll_seconds)
                continue
            pause = min(2 * pause, MAX_BACKOFF)

    def _note(self, event: str, trouble: str) -> None:
        """Keep what is wrong, and log it where it is news."""
        if event != self._noted:
            self._log.warning(event, reason=trouble)
        self.trouble, self._noted = trouble, event

    def _is_well(self) -> None:
        """The node answered with nothing against it; whether it is behind is another question."""
        if not self.reachable or self._contradicts:
            self._news_seen = trio.current_time()
        self.reachable, self._contradicts = True, False
        behind = self._behind()
        if behind:
            self._note("rpc_behind", behind)
            if trio.current_time() - self._moved_on_at >= self._head_seconds:
                self._moved_on_at = trio.current_time()
                self._move_on(behind)
        elif self.trouble:
            self._log.info("rpc_well_again", block=self._tip.number, after=self.trouble)
            self.trouble = self._noted = ""
            self._recovery.set()
            self._recovery = trio.Event()

    def _behind(self) -> str:
        """Say how the node is behind the chain, as far as one can tell from here; empty where it is not."""
        age = trio.current_time() - self._head_seen
        if age < self._head_seconds:
            return ""
        where = f"block {self._tip.number}, which this site read {age:.0f} s ago"
        if self._stream.head < self._tip.number:
            return f"the chain's node is at block {self._stream.head} and behind {where}; does it synchronise?"
        return f"there is no block after {where}: the chain's node is behind, or the chain stands still; look at both"

    async def changed(self) -> None:
        """Await the next event."""
        await self._changed.wait()

    async def changed_or(self, until: float | None) -> None:
        """Await the next event, or that chain time, whichever comes first."""
        with trio.move_on_after(math.inf if until is None else max(0.0, until - self.now())):
            await self.changed()

    async def recovered(self) -> None:
        """Await that the chain's node is well again the next time after some trouble."""
        await self._recovery.wait()

    async def submit(self, send: Callable[[], Receipt]) -> Receipt:
        """Send a transaction in a thread and return once its block's events are folded in.

        Raises RpcDistrusted where the chain's node contradicts itself: nothing is sent to another history.
        """
        if self._contradicts:
            raise RpcDistrusted(self.trouble)
        try:
            receipt = await trio.to_thread.run_sync(send)
        except ChainMismatch as error:
            raise RpcDistrusted(str(error)) from error
        while self._tip.number < receipt.block:
            self._poke.set()
            await self._polled.wait()
        return receipt

    async def _poll(self) -> None:
        self._poke = trio.Event()
        events = await trio.to_thread.run_sync(self._stream.poll)
        tip = self._stream.tip
        if tip is not None and tip != self._tip:
            self._tip, self._head_time, self._head_seen = tip, tip.timestamp, trio.current_time()
        self._state = self._state.fold(events)
        self._polled.set()
        self._polled = trio.Event()
        if events:
            self._news_seen = trio.current_time()
            self._changed.set()
            self._changed = trio.Event()
