"""Sites ask a test before each action of a round, and wait until they may: so a phase lasts as long as a test needs."""

import asyncio
import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from tests.faults.links import Background


@dataclass(frozen=True)
class Ask:
    """A site is about to do something."""

    site: str
    action: str
    round: int


class Gatekeeper:
    """Lets sites train up to one round, and do everything else unless that is held."""

    def __init__(self, background: Background, path: Path) -> None:
        self.path = path
        self.waiting: tuple[Ask, ...] = ()
        self._trains_to = 0
        self._held: frozenset[tuple[str, str]] = frozenset()
        self._changed = asyncio.Event()
        self._background = background
        background.serve(asyncio.start_unix_server(self._serve, str(path)))

    def let(self, *, trains_to: int, held: frozenset[tuple[str, str]] = frozenset()) -> None:
        """Let sites train up to this round; `held` are (site, action) that must wait."""

        async def change() -> None:
            self._trains_to, self._held = trains_to, held
            self._changed.set()
            self._changed = asyncio.Event()

        self._background.do(change())

    def who(self, action: str, number: int) -> set[str]:
        """The sites that are about to do that in that round, and wait."""
        return {ask.site for ask in self.waiting if (ask.action, ask.round) == (action, number)}

    def _may(self, ask: Ask) -> bool:
        if ask.action == "Train" and ask.round > self._trains_to:
            return False
        return (ask.site, ask.action) not in self._held

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError):
            ask = Ask(**json.loads(await reader.readline()))
            self.waiting = (*self.waiting, ask)
            gone = asyncio.ensure_future(reader.read(1))
            may = asyncio.ensure_future(self._until(ask))
            try:
                await asyncio.wait({gone, may}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                left = list(self.waiting)
                left.remove(ask)
                self.waiting = tuple(left)
                gone.cancel()
                may.cancel()
            writer.write(b"go\n")
        writer.transport.abort() if writer.is_closing() else writer.close()

    async def _until(self, ask: Ask) -> None:
        while not self._may(ask):
            await self._changed.wait()
