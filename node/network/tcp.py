"""TCP for libp2p: reads in large pieces, notes when the peer was last heard, and can be cut at once.

The library reads a two-byte length and then a body for each Noise message, each with a system call of its own, and
its `read_exactly` gives up after 100 short reads, which a body in many small segments reaches. Here a read of n bytes
gives n bytes, from a buffer that is filled 256 KiB at a time.
"""

from typing import Any

import trio
from libp2p.abc import IListener, IRawConnection
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.transport.exceptions import OpenConnectionError
from libp2p.transport.tcp.tcp import TCP, TCPListener
from multiaddr import Multiaddr

RECEIVE_BYTES = 1 << 18
_HOSTS = ("ip4", "ip6", "dns", "dns4", "dns6")


class BufferedTcp(TrioTCPStream):  # type: ignore[misc]
    """A TCP connection that libp2p secures; one reader, several writers."""

    def __init__(self, stream: trio.SocketStream) -> None:
        super().__init__(stream)
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
            if len(data) > wanted:
                self._data, self._at = data, wanted
                data = data[:wanted]
            if not data:
                break
            parts.append(data)
            wanted -= len(data)
        return b"".join(parts)

    async def _receive(self) -> bytes:
        try:
            data = await self.stream.receive_some(RECEIVE_BYTES)
        except trio.BrokenResourceError as error:
            raise ConnectionClosedError(f"the connection broke: {error}", transport="tcp") from error
        except trio.ClosedResourceError:
            return b""
        self.heard = trio.current_time()
        return bytes(data)

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
        parts = {protocol.name: value for protocol, value in maddr.items()}
        host = next((parts[kind] for kind in _HOSTS if kind in parts), None)
        if host is None or "tcp" not in parts:
            raise OpenConnectionError(f"{maddr} is not a TCP address")
        try:
            stream = await trio.open_tcp_stream(host, int(parts["tcp"]))
        except OSError as error:
            raise OpenConnectionError(str(error)) from error
        return RawConnection(BufferedTcp(stream), True)

    def create_listener(self, handler_function: Any) -> IListener:
        """Listen, handing on each connection as a `BufferedTcp`."""

        async def buffered(stream: TrioTCPStream) -> None:
            await handler_function(BufferedTcp(stream.stream))

        return TCPListener(buffered)
