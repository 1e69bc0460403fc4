"""A stream of frames over a libp2p stream."""

from collections.abc import Callable
from contextlib import suppress

import trio
from libp2p.abc import INetConn, INetStream
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.protocol_muxer.exceptions import MultiselectClientError, ProtocolNotSupportedError
from libp2p.protocol_muxer.multiselect_client import MultiselectClient

from node.network.frames import HEADER, FrameType, MalformedFrame
from node.network.hardening import BoundedCommunicator
from node.network.muxer import SturdyStream

READ_BYTES = 1 << 18
WINDOW_BYTES = 16 << 20

Count = Callable[[int, int], None]
"""Told how many bytes were sent and received."""


class ChannelClosed(Exception):
    """The stream or its connection has ended."""


class ProtocolUnknown(ChannelClosed):
    """The peer doesn't speak the protocol: another version, or not this software."""


class Channel:
    """Frames in, frames out; one task may send and another receive at a time."""

    def __init__(self, stream: INetStream, count: Count) -> None:
        self._net = stream
        self._stream: SturdyStream = stream.muxed_stream
        self._count = count
        self._buffer = bytearray()

    async def widen(self) -> None:
        """Let the other side send several chunks without waiting for us."""
        await self._stream.widen(WINDOW_BYTES)

    async def send(self, *parts: bytes | memoryview) -> None:
        """Send bytes that make up one or more frames; raises ChannelClosed."""
        try:
            for part in parts:
                await self._stream.write(part)
                self._count(len(part), 0)
        except BaseLibp2pError as error:
            raise ChannelClosed("the stream has ended") from error

    async def receive(self, limit: Callable[[], int], progress: Callable[[], None]) -> tuple[FrameType, memoryview]:
        """The next frame; `limit` is asked for the largest body that is allowed once a frame begins.

        Raises ChannelClosed, and MalformedFrame for a frame that is too large, unknown, or cut off.
        """
        while len(self._buffer) < HEADER.size:
            self._buffer += await self._read(READ_BYTES)
            progress()
        size, number = HEADER.unpack_from(self._buffer)
        allowed = limit()
        if size > allowed:
            raise MalformedFrame(f"a frame of {size} bytes where at most {allowed} are allowed")
        try:
            kind = FrameType(number)
        except ValueError:
            raise MalformedFrame(f"a frame of unknown type {number}") from None
        body = memoryview(bytearray(size))
        here = min(size, len(self._buffer) - HEADER.size)
        body[:here] = memoryview(self._buffer)[HEADER.size : HEADER.size + here]
        del self._buffer[: HEADER.size + here]
        while here < size:
            piece = await self._read(size - here)
            body[here : here + len(piece)] = piece
            here += len(piece)
            progress()
        return kind, body

    async def _read(self, size: int) -> bytes:
        try:
            data = bytes(await self._stream.read(size))
        except BaseLibp2pError as error:
            raise ChannelClosed("the stream has ended") from error
        if not data:
            raise ChannelClosed("the stream has ended")
        self._count(0, len(data))
        return data

    async def drained(self, at_most: float) -> None:
        """Wait for the other side to hang up, so that what was sent last arrives before a reset does."""
        with trio.move_on_after(at_most), suppress(BaseLibp2pError):
            await self._stream.read(1)

    async def abort(self) -> None:
        """Reset the stream."""
        with trio.CancelScope(shield=True):
            await self._net.reset()

    def cut(self) -> None:
        """End the whole connection now."""
        self._stream.conn.cut()


async def open_stream(connection: INetConn, protocol: str) -> INetStream:
    """Open a stream and agree on its protocol; raises ChannelClosed, and ProtocolUnknown where the peer has it not."""
    try:
        stream = await connection.new_stream()
    except BaseLibp2pError as error:
        raise ChannelClosed("the connection has ended") from error
    agreed = False
    try:
        client, communicator = MultiselectClient(), BoundedCommunicator(stream)
        await client.handshake(communicator)
        await client.try_select(communicator, TProtocol(protocol))
        agreed = True
    except ProtocolNotSupportedError:
        raise ProtocolUnknown(f"the peer doesn't speak {protocol}") from None
    except MultiselectClientError as error:
        raise ChannelClosed(f"no agreement on {protocol}: the stream has ended") from error
    finally:
        if not agreed:
            with trio.CancelScope(shield=True):
                await stream.reset()
    return stream


async def open_channel(connection: INetConn, protocol: str, count: Count) -> Channel:
    """A stream of frames of a protocol; raises as `open_stream` does."""
    return Channel(await open_stream(connection, protocol), count)
