"""TCP for libp2p: reads in large pieces, notes when the peer was last heard, and can be cut at once.

The library reads a two-byte length and then a body for each Noise message, each with a system call of its own, and
its `read_exactly` gives up after 100 short reads, which a body in many small segments reaches. Here a read of n bytes
gives n bytes, from a buffer that is filled 256 KiB at a time.
"""

import errno
import socket
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any

import trio
from libp2p.abc import IListener, IRawConnection
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.transport.exceptions import OpenConnectionError
from libp2p.transport.tcp.tcp import TCP, TCPListener
from multiaddr import Multiaddr

RECEIVE_BYTES = 1 << 18
_HOSTS = ("ip4", "ip6", "dns", "dns4", "dns6")
_PORT_NOT_FREE = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EINVAL, errno.EACCES, errno.ENETUNREACH)


class Pipe(ReadWriteCloser, ABC):  # type: ignore[misc]
    """What libp2p secures: bytes to and from a peer, over TCP or through a relay; one reader, several writers."""

    def __init__(self) -> None:
        self.heard = trio.current_time()
        self._data = b""
        self._at = 0

    async def read(self, n: int | None = None) -> bytes:
        """Exactly n bytes, or fewer at the end of the connection; without n, whatever is there."""
        if n is None:
            n = max(1, len(self._data) - self._at)
        end = self._at + n
        if end <= len(self._data):
            piece, self._at = self._data[self._at : end], end
            return piece
        parts = [self._data[self._at :]]
        wanted = n - len(parts[0])
        self._data, self._at = b"", 0
        while wanted:
            data = await self._receive()
            self.heard = trio.current_time()
            if len(data) > wanted:
                self._data, self._at = data, wanted
                data = data[:wanted]
            if not data:
                break
            parts.append(data)
            wanted -= len(data)
        return b"".join(parts)

    @abstractmethod
    async def _receive(self) -> bytes:
        """Whatever comes next, nothing at the end; raises ConnectionClosedError."""

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Whether nobody has closed it here."""

    @abstractmethod
    def cut(self) -> None:
        """Close it now, from any task: whoever reads or writes is woken."""


class BufferedTcp(Pipe, TrioTCPStream):  # type: ignore[misc]
    """A TCP connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        TrioTCPStream.__init__(self, stream)
        Pipe.__init__(self)
        self.get_remote_address()  # the library remembers it, for when the socket is closed

    async def _receive(self) -> bytes:
        try:
            return bytes(await self.stream.receive_some(RECEIVE_BYTES))
        except trio.BrokenResourceError as error:
            raise ConnectionClosedError(f"the connection broke: {error}", transport="tcp") from error
        except trio.ClosedResourceError:
            return b""

    @property
    def is_open(self) -> bool:
        """Whether nobody has closed it here."""
        return bool(self.stream.socket.fileno() >= 0)

    def cut(self) -> None:
        """Close the socket now, from any task: whoever reads or writes is woken."""
        self.stream.socket.close()


class BufferedTcpTransport(TCP):  # type: ignore[misc]
    """The library's TCP transport over `BufferedTcp`."""

    async def dial(self, maddr: Multiaddr) -> IRawConnection:
        """Connect; names are resolved as the machine resolves them, which the library doesn't."""
        host, port = _host_and_port(maddr)
        try:
            stream = await trio.open_tcp_stream(host, port)
        except OSError as error:
            raise OpenConnectionError(str(error)) from error
        return RawConnection(BufferedTcp(stream), True)

    async def dial_with_source(self, maddr: Multiaddr, source: tuple[str, int]) -> IRawConnection:
        """Connect from a given port, so that a router maps that one; from any where the port can't be had."""
        host, port = _host_and_port(maddr)
        try:
            stream = await connect_from(source, host, port)
        except OSError as error:
            if error.errno not in _PORT_NOT_FREE:
                raise OpenConnectionError(str(error)) from error
            return await self.dial(maddr)
        return RawConnection(BufferedTcp(stream), True)

    def create_listener(self, handler_function: Any) -> IListener:
        """Listen, handing on each connection as a `BufferedTcp`."""

        async def buffered(stream: TrioTCPStream) -> None:
            await handler_function(BufferedTcp(stream.stream))

        return TCPListener(buffered)


async def connect_from(source: tuple[str, int], host: str, port: int) -> trio.SocketStream:
    """Connect to an IP address from a port that this process may be listening on; raises OSError.

    Where the other side connects to that port from that address at the same instant, both get one connection.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if (":" in source[0]) != (":" in host):
        raise OSError(errno.EINVAL, "one address is IPv4 and the other IPv6")
    outgoing = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        outgoing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        outgoing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        await outgoing.bind(source)
        await outgoing.connect((host, port))
        return trio.SocketStream(outgoing)
    except BaseException:
        outgoing.close()
        raise


def share_port(listener: IListener) -> None:
    """Let outgoing connections of this process use a port that it listens on.

    Set once the port is ours alone: with the option set before, a second process could listen on it too.
    """
    for one in listener.listeners:
        with suppress(OSError):
            one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _host_and_port(maddr: Multiaddr) -> tuple[str, int]:
    parts = {protocol.name: value for protocol, value in maddr.items()}
    host = next((parts[kind] for kind in _HOSTS if kind in parts), None)
    if host is None or "tcp" not in parts:
        raise OpenConnectionError(f"{maddr} is not a TCP address")
    return host, int(parts["tcp"])
