"""A circuit: a stream to a relay, standing for the TCP connection that the two ends of it can't have.

Noise and yamux run over it as over TCP, so a relayed connection is gated, checked for signs of life and cut as a
direct one is.
"""

import trio
from libp2p.abc import ConnectionType, IMuxedConn, INetStream, IRawConnection
from libp2p.exceptions import BaseLibp2pError
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.stream_muxer.exceptions import MuxedStreamEOF

from node.network.gate import pipe_of
from node.network.muxer import SturdyStream
from node.network.port import Address
from node.network.tcp import RECEIVE_BYTES, Pipe

WINDOW_BYTES = 4 << 20


class Circuit(Pipe):
    """One end of a circuit; `relay` carries it."""

    def __init__(self, stream: INetStream, relay: Address) -> None:
        super().__init__()
        self.relay = relay
        self._net = stream
        self._stream: SturdyStream = stream.muxed_stream
        self._open = True
        self._reading = trio.CancelScope()

    async def widen(self) -> None:
        """Let the relay send more than a stream's usual window; a wide-area link needs it."""
        try:
            await self._stream.widen(WINDOW_BYTES)
        except BaseLibp2pError as error:
            raise _closed() from error

    async def write(self, data: bytes) -> None:
        """Send everything; raises ConnectionClosedError."""
        try:
            await self._stream.write(data)
        except BaseLibp2pError as error:
            raise _closed() from error

    async def _receive(self) -> bytes:
        if not self._open:
            return b""
        try:
            with self._reading:
                return bytes(await self._stream.read(RECEIVE_BYTES))
        except MuxedStreamEOF:
            return b""
        except BaseLibp2pError as error:
            raise _closed() from error
        finally:
            self._reading = trio.CancelScope()
        return b""  # it was cut

    async def close(self) -> None:
        """End it at both ends."""
        self.cut()
        with trio.CancelScope(shield=True):
            await self._net.reset()

    @property
    def is_open(self) -> bool:
        """Whether it hasn't been closed here."""
        return self._open and not self._stream.closed

    def cut(self) -> None:
        """End it now, from any task; who serves the stream, or the end of the relay's connection, tells the relay."""
        self._open = False
        self._stream.send_closed = True
        self._reading.cancel()

    def get_remote_address(self) -> tuple[str, int] | None:
        """None: only the relay knows."""
        return None


def raw_connection(circuit: Circuit, *, initiator: bool) -> IRawConnection:
    """The circuit as what libp2p secures and multiplexes."""
    return RawConnection(circuit, initiator, ConnectionType.RELAYED, [])


def relay_of(connection: IMuxedConn) -> Address | None:
    """The member that carries a connection; None where it is direct."""
    pipe = pipe_of(connection.secured_conn)
    return pipe.relay if isinstance(pipe, Circuit) else None


def _closed() -> ConnectionClosedError:
    return ConnectionClosedError("the circuit was closed", transport="relay")
