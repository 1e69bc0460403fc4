"""Live updates: server-sent events that say that there is something new, and where. A reader then asks for it."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Final

from ledger.api.snapshot import Snapshot

MOST_READERS: Final = 64
MOST_FOR_ONE: Final = 8
KEEPALIVE_SECONDS: Final = 15.0


class TooMany(Exception):
    """As many readers listen as may."""


class Live:
    """Tells its readers of the newest snapshot. A slow reader misses those between, so that none takes memory."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self._newest: Snapshot | None = None
        self._readers: Counter[str] = Counter()
        self._is_over = False

    def begin(self) -> None:
        """Be in the loop that serves the readers."""
        self._loop = asyncio.get_running_loop()

    def tell(self, snapshot: Snapshot) -> None:
        """Have a new snapshot told; from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._announce, snapshot)

    def end(self) -> None:
        """Let every reader go."""
        self._is_over = True
        self._wake()

    def _announce(self, snapshot: Snapshot) -> None:
        self._newest = snapshot
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def listen(self, client: str, now: Snapshot) -> AsyncGenerator[str, None]:
        """Give the events for one reader, beginning with where things stand; raises TooMany.

        Its place is taken when it begins to read, since one that never does could not give it back.
        """
        if self._is_full(client):
            raise TooMany
        return self._events(client, now)

    def _is_full(self, client: str) -> bool:
        return self._readers.total() >= MOST_READERS or self._readers[client] >= MOST_FOR_ONE

    async def _events(self, client: str, now: Snapshot) -> AsyncGenerator[str, None]:
        if self._is_full(client):
            return
        self._readers[client] += 1
        try:
            yield message(now)
            told = now.tag
            while not self._is_over:
                news = self._news
                if self._newest is not None and self._newest.tag != told:
                    told = self._newest.tag
                    yield message(self._newest)
                    continue
                try:
                    async with asyncio.timeout(KEEPALIVE_SECONDS):
                        await news.wait()
                except TimeoutError:
                    yield ": still here\n\n"
        finally:
            self._readers[client] -= 1
            if not self._readers[client]:
                del self._readers[client]

    @property
    def readers(self) -> int:
        """How many listen."""
        return self._readers.total()


def message(snapshot: Snapshot) -> str:
    """Write one event: the newest block, and where each study's last event stands."""
    block = snapshot.newest
    said = {
        "block": block.number if block is not None else None,
        "tag": snapshot.tag,
        "events": snapshot.folded.events,
        "studies": {str(number): snapshot.version(number) for number in snapshot.studies},
        "trouble": snapshot.trouble,
    }
    return f"event: head\nid: {snapshot.tag}\ndata: {json.dumps(said)}\n\n"
