"""Serving the auditors' service from this process, until told to stop."""

import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from ledger import web
from ledger.api.live import Live
from ledger.errors import ServiceInvalid

MOST_CONNECTIONS: Final = 256


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to serve: host and port (0 takes a free one), and with which certificate, where TLS is on."""

    host: str
    port: int
    certificate: Path | None = None
    private_key: Path | None = None

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        return web.is_loopback(self.host)

    @property
    def tls(self) -> tuple[Path, Path] | None:
        """The certificate and its private key."""
        return (self.certificate, self.private_key) if self.certificate and self.private_key else None

    @classmethod
    def parse(cls, text: str, certificate: Path | None = None, private_key: Path | None = None) -> "Listen":
        """Read host:port; raises ServiceInvalid."""
        host, colon, port = text.rpartition(":")
        if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
            raise ServiceInvalid(f"{text!r} is no place to listen: write 127.0.0.1:8600, or [::1]:8600")
        if (certificate is None) != (private_key is None):
            raise ServiceInvalid("a certificate and a private key go together: give both, or neither")
        return cls(host.removeprefix("[").removesuffix("]"), int(port), certificate, private_key)


@dataclass(frozen=True, slots=True)
class Up:
    """A service that listens: its address, and how to stop it from any thread."""

    url: str
    stop: Callable[[], None]


class _Server(uvicorn.Server):
    """Says when it listens, lets readers of live updates go when it is told to stop, and outlives the signal."""

    def __init__(self, config: uvicorn.Config, live: Live, is_up: Callable[[], None]) -> None:
        super().__init__(config)
        self._live = live
        self._is_up = is_up

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        self._is_up()

    def stop(self) -> None:
        """End soon."""
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGINT and SIGTERM, and don't raise them again: what is around the server has to be put away."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {one: signal.signal(one, self.handle_exit) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop."""
        self._live.end()
        await super().shutdown(sockets)


def serve(app: ASGIApp, listen: Listen, live: Live, is_up: Callable[[Up], None]) -> None:
    """Serve until SIGINT, SIGTERM or `Up.stop`; `is_up` hears when it listens. Raises ServiceInvalid."""
    config = _config(app, listen)
    with closing(_listening(listen)) as listening:
        url = web.url_of(listening, tls=listen.tls is not None)
        server = _Server(config, live, lambda: is_up(Up(url, server.stop)))
        server.run(sockets=[listening])


def _listening(listen: Listen) -> socket.socket:
    try:
        return web.listen(listen.host, listen.port, MOST_CONNECTIONS)
    except OSError as error:
        raise ServiceInvalid(f"can't listen on {listen.host}, port {listen.port}: {error.strerror or error}") from None


def _config(app: ASGIApp, listen: Listen) -> uvicorn.Config:
    try:
        return web.settings(app, MOST_CONNECTIONS, listen.tls, lifespan="on")
    except (OSError, ssl.SSLError) as error:
        raise ServiceInvalid(f"the certificate or the private key can't be used: {error}") from None
