"""The library's yamux, made fit for a node that runs for months.

Why each override is there stands at the override; tests/network/test_hardening.py shows what the library does without
it. Data goes in frames of 256 KiB instead of 64 KiB (every yamux takes frames up to its window).
"""

import logging
import struct

import trio
from libp2p.abc import IMuxedConn, ISecureConn
from libp2p.exceptions import BaseLibp2pError
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedStreamError, MuxedStreamReset
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import (
    FLAG_SYN,
    GO_AWAY_NORMAL,
    HEADER_SIZE,
    TYPE_DATA,
    TYPE_PING,
    YAMUX_HEADER_FORMAT,
    Yamux,
    YamuxStream,
)

from node.network.gate import pipe_of
from node.network.tuning import Tuning

logger = logging.getLogger(__name__)

NOISE_PLAINTEXT = 65519  # the most that one Noise message holds
FRAME_BYTES = 4 * NOISE_PLAINTEXT - HEADER_SIZE  # with its header, a frame fills its Noise messages to the last byte
WINDOW_POLL_SECONDS = 0.01


class WindowViolation(trio.TooSlowError):
    """A peer sent more than we had granted; TooSlowError is what makes the library close the whole connection."""


class SturdyStream(YamuxStream):  # type: ignore[misc]
    """One stream."""

    _pending_recv_release: int

    @property
    def recv_window(self) -> int:
        """Bytes that the peer may still send."""
        return self._recv_window

    @recv_window.setter
    def recv_window(self, value: int) -> None:
        # The library only warns, and buffers whatever comes: any peer could fill our memory.
        if value < 0:
            raise WindowViolation(f"peer {self.conn.peer_id} sent {-value} bytes more than it may")
        self._recv_window = value

    async def widen(self, window: int) -> None:
        """Let the peer send this much before it has to wait for us."""
        more = window - self.recv_window
        self.target_recv_window = window
        self.recv_window += more
        await self.send_window_update(more)

    async def _auto_tune_and_send_window_update(self, *, bytes_read: int = 0) -> None:
        # The library answers every small read with a frame of its own, which doubles the cost of a small request.
        self._pending_recv_release += bytes_read
        if self._pending_recv_release >= self.target_recv_window // 2:
            released, self._pending_recv_release = self._pending_recv_release, 0
            self.recv_window += released
            await self.send_window_update(released)

    async def write(self, data: bytes | memoryview) -> None:
        """Send everything, waiting for the peer's window as long as the caller lets us."""
        # The library resets the stream where the peer has not read for five seconds.
        rest = memoryview(data)
        while rest:
            while self.send_window <= 0 and not self.send_closed and not self.closed:
                await trio.sleep(WINDOW_POLL_SECONDS)
            if self.send_closed or self.closed:
                raise MuxedStreamReset("the stream was reset") if self.reset_received else MuxedStreamError("closed")
            size = min(len(rest), self.send_window, FRAME_BYTES)
            self.send_window -= size
            header = struct.pack(YAMUX_HEADER_FORMAT, 0, TYPE_DATA, 0, self.stream_id, size)
            await self.conn._write_frame(b"".join((header, rest[:size])))
            rest = rest[size:]


class SturdyYamux(Yamux):  # type: ignore[misc]
    """One connection to a peer."""

    tuning = Tuning()

    async def start(self) -> None:
        """Serve the connection until it ends."""
        # What escapes from here, the library turns into the end of the whole host.
        try:
            await super().start()
        except* Exception as errors:  # noqa: BLE001 - the boundary that keeps the process alive
            logger.warning("connection to %s failed: %r", self.peer_id, errors.exceptions)
            self.cut()
            await self._cleanup_on_error()

    async def _write_frame(self, data: bytes) -> None:
        # A write that is cancelled between encryption and sending leaves the two ends with different cipher states,
        # and the connection is lost. So a frame that has begun is sent to the end, in bounded time.
        async with self._write_lock:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + self.tuning.send) as scope:
                await self.secured_conn.write(data)
        if scope.cancelled_caught:
            self.cut()
            raise ConnectionClosedError("the peer takes no more bytes", transport="tcp")
        await trio.lowlevel.checkpoint()

    async def _read_data_body(self, length: int) -> bytes:
        # The library puts a frame together from whatever pieces come, with two copies, and gives up after 100 of them.
        body = bytes(await self.secured_conn.read(length)) if length else b""
        if len(body) < length:
            raise ConnectionClosedError("the connection ended within a frame", transport="tcp")
        return body

    async def _measure_rtt_loop(self) -> None:
        # The library's loop pings but draws no conclusion: a frozen peer or a cut cable goes unnoticed for ever.
        pipe = pipe_of(self.secured_conn)
        while not self.event_shutting_down.is_set():
            await trio.sleep(self.tuning.ping)
            quiet = trio.current_time() - pipe.heard
            if quiet > self.tuning.dead:
                logger.info("peer %s has been silent for %.1f s", self.peer_id, quiet)
                self.cut()
                return
            if quiet >= self.tuning.ping:
                self._ping_id += 1
                self._ping_sent_time = trio.current_time()
                ping = struct.pack(YAMUX_HEADER_FORMAT, 0, TYPE_PING, FLAG_SYN, 0, self._ping_id & 0xFFFFFFFF)
                try:
                    with trio.move_on_after(self.tuning.ping):
                        await self._write_frame(ping)
                except BaseLibp2pError:
                    return

    async def close(self, error_code: int = GO_AWAY_NORMAL) -> None:
        """End the connection without waiting for the peer."""
        # The library says goodbye first, and waits for ever where a frozen peer takes no more bytes.
        if not self.event_closed.is_set():
            self.cut()
            await self._cleanup_on_error()

    def cut(self) -> None:
        """Close the socket now; every stream of the connection ends."""
        self.event_shutting_down.set()
        pipe_of(self.secured_conn).cut()


class SturdyMuxers(MuxerMultistream):  # type: ignore[misc]
    """Negotiates /yamux/1.0.0, and runs `SturdyYamux` for it; the library has its own class hard-wired."""

    tuning = Tuning()

    async def new_conn(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        """Agree on the muxer, and start it."""
        protocol, _ = await self._selector.select(conn, conn.is_initiator, self.negotiate_timeout)
        muxed = SturdyYamux(conn, peer_id, is_initiator=conn.is_initiator)
        muxed.tuning = self.tuning
        return self._annotate_connection(muxed, conn, protocol)
