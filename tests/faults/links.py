"""The sites' links, in the hands of a test: cut, silent, silent one way, slow, or cut in the middle of a transfer.

Each site is dialled at a relay of its own. A connection's caller is known by its port, so a rule may be about one site
as caller, as called, or as either end. No privileges are needed.
"""

import asyncio
import contextlib
import secrets
import socket
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import psutil

_LOW, _HIGH = 20_000, 32_000  # below the ports that the kernel gives away by itself
_READ_BYTES = 1 << 16


def free_port() -> int:
    while True:
        port = _LOW + secrets.randbelow(_HIGH - _LOW)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Background:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._servers: list[asyncio.Server] = []
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Await something there, from any other thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def serve(self, start: Coroutine[Any, Any, asyncio.Server]) -> None:
        """Start a server there, until the end."""
        self._servers.append(self.do(start))

    def close(self) -> None:
        async def end() -> None:
            for server in self._servers:
                server.close()
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await asyncio.get_running_loop().shutdown_default_executor()

        self.do(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@dataclass(frozen=True)
class Rule:
    """What happens to connections of some site; `site` is whose."""

    site: str = ""
    refuse_inbound: bool = False
    refuse_outbound: bool = False
    silent_to: bool = False
    silent_from: bool = False
    delay: float = 0.0
    cut_after: int | None = None


@dataclass(eq=False)
class _Connection:
    caller: str
    called: str
    writers: list[asyncio.StreamWriter]

    def reset(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


class Links:
    """All relays; the rule is for one site at a time."""

    def __init__(self, background: Background, pid_of: Callable[[str], int | None]) -> None:
        self._background = background
        self._pid_of = pid_of
        self._rule = Rule()
        self._changed = asyncio.Event()
        self._connections: set[_Connection] = set()
        self._listens: dict[str, int] = {}
        self._passed: dict[str, int] = {}

    def add(self, site: str) -> tuple[int, int]:
        """Make a site's relay; gives the port to listen on, and the one to announce."""
        self._listens[site], relay = free_port(), free_port()
        self._background.serve(
            asyncio.start_server(lambda reader, writer: self._relay(site, reader, writer), "127.0.0.1", relay)
        )
        return self._listens[site], relay

    def set(self, rule: Rule) -> None:
        """Have this rule, and no other, from now on."""

        async def change() -> None:
            self._rule = rule
            self._passed.clear()
            for connection in list(self._connections):
                if self._refused(connection.caller, connection.called):
                    connection.reset()
            self._changed.set()
            self._changed = asyncio.Event()

        self._background.do(change())

    def _refused(self, caller: str, called: str) -> bool:
        rule = self._rule
        return (rule.refuse_inbound and called == rule.site) or (rule.refuse_outbound and caller == rule.site)

    async def _relay(self, called: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = writer.get_extra_info("peername")[1]
        caller = await asyncio.get_running_loop().run_in_executor(None, self._site_of, port)
        if self._refused(caller, called):
            writer.transport.abort()
            return
        try:
            there, onward = await asyncio.open_connection("127.0.0.1", self._listens[called])
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(caller, called, [writer, onward])
        self._connections.add(connection)
        try:
            await asyncio.gather(
                self._pump(connection, reader, onward, caller, called),
                self._pump(connection, there, writer, called, caller),
            )
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            connection.reset()
            self._connections.discard(connection)

    async def _pump(
        self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: str, to: str
    ) -> None:
        while data := await reader.read(_READ_BYTES):
            while self._is_silent(source, to):
                await self._changed.wait()
            rule = self._rule
            if rule.site in (source, to):
                await asyncio.sleep(rule.delay)
            if rule.site == source and rule.cut_after is not None:
                before = self._passed.get(to, 0)
                self._passed[to] = before + len(data)
                if before <= rule.cut_after < self._passed[to]:  # once on the way to each site
                    writer.write(data[: rule.cut_after - before])
                    await writer.drain()
                    connection.reset()
                    return
            writer.write(data)
            await writer.drain()
        connection.reset()

    def _is_silent(self, source: str, to: str) -> bool:
        rule = self._rule
        return (rule.silent_to and to == rule.site) or (rule.silent_from and source == rule.site)

    def _site_of(self, port: int) -> str:
        for site in self._listens:
            pid = self._pid_of(site)
            with contextlib.suppress(psutil.Error):
                if pid is not None and any(
                    one.laddr and one.laddr.port == port for one in psutil.Process(pid).net_connections("tcp4")
                ):
                    return site
        return ""
