"""What the HTTP services have in common: how they listen, what uvicorn is told, and that they wait for nobody."""

import asyncio
import socket
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Literal

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

IDLE_SECONDS: Final = 10.0
GRACE_SECONDS: Final = 2
MAX_HEADER_BYTES: Final = 16 << 10


class Impatient(H11Protocol):
    """Hangs up on clients that make no whole request, or read nothing of an answer, for a while."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to count."""
        super().connection_made(transport)
        self.loop.call_later(IDLE_SECONDS, self._look, (None, 0))

    def _look(self, before: tuple[object, int]) -> None:
        unread = self.transport.get_write_buffer_size()
        if self.transport.is_closing() and not unread:
            return
        now = self.cycle, unread
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if now == before and (unread or not is_answering):
            self.transport.abort()
            return
        self.loop.call_later(IDLE_SECONDS, self._look, now)


def listen(host: str, port: int, most_connections: int) -> socket.socket:
    """Give a socket that listens; port 0 takes a free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named, asyncio turns Nagle's algorithm off: else each small answer waits 40 ms for the reader.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(most_connections)
    except OSError:
        listening.close()
        raise
    return listening


def url_of(listening: socket.socket, *, tls: bool) -> str:
    """Say where a socket is reached."""
    host, port = listening.getsockname()[:2]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def host_of(header: str) -> str:
    """Read the name or address in a Host header, without its port."""
    return header.rsplit(":", 1)[0] if ":" in header.rsplit("]", 1)[-1] else header


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's loopback."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def settings(
    app: Any, most_connections: int, tls: tuple[Path, Path] | None, *, lifespan: Literal["on", "off"]
) -> uvicorn.Config:
    """Settle how uvicorn serves; `tls` is a certificate and its private key. Raises OSError and ssl.SSLError."""
    config = uvicorn.Config(
        app,
        http=Impatient,
        ws="none",
        loop="asyncio",
        lifespan=lifespan,
        interface="asgi3",
        log_config=None,  # the program's own logging
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=most_connections,
        timeout_keep_alive=int(IDLE_SECONDS),
        timeout_graceful_shutdown=GRACE_SECONDS,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        ssl_certfile=None if tls is None else str(tls[0]),
        ssl_keyfile=None if tls is None else str(tls[1]),
    )
    config.load()
    return config
