"""The answering side of a channel: one request at a time, each answered from the store or by a handler."""

import logging

import trio

from node.network.channel import Channel
from node.network.frames import (
    ASK_BYTES,
    BLOB_REQUEST_BYTES,
    HELLO_BYTES,
    INLINE_BYTES,
    FrameType,
    MalformedFrame,
    decode_ask,
    decode_chunk,
    decode_describe,
    decode_hello,
    encode_described,
    encode_hello,
    encode_refused,
    frame,
)
from node.network.muxer import FRAME_BYTES
from node.network.port import MAX_REQUEST_BYTES, Address, FaultKind, Handler, Hello, MayServe
from node.network.pull import Mismatch, Offload, SourceFailed
from swarm.blobs import BlobStore
from swarm.errors import BlobError

logger = logging.getLogger(__name__)

LINGER_SECONDS = 2.0  # for a peer that doesn't fit to read why, and to hang up
UPLOADS = 8  # chunks in memory on their way out, over all peers
BLOB_PROTOCOL = "/swarm/blob/2"
CONTROL_PROTOCOL = "/swarm/control/2"  # the name stays: what is spoken on it, the hello says


class Server:
    """Answers the requests of all peers."""

    def __init__(
        self, store: BlobStore, hello: Hello, may_serve: MayServe, offload: Offload, stall_seconds: float
    ) -> None:
        self.handlers: dict[str, Handler] = {}
        self._offload = offload
        self._store = store
        self._hello = hello
        self._may_serve = may_serve
        self._stall_seconds = stall_seconds
        self._uploads = trio.Semaphore(UPLOADS)

    async def serve(self, channel: Channel, protocol: str, address: Address) -> None:
        """Answer a peer until it leaves; raises ChannelClosed, MalformedFrame and SourceFailed for what it did."""
        await self._greet(channel)
        limit = ASK_BYTES if protocol == CONTROL_PROTOCOL else BLOB_REQUEST_BYTES
        while True:
            kind, body = await channel.receive(lambda: limit, _nothing)
            if protocol == CONTROL_PROTOCOL and kind is FrameType.ASK:
                await self._send(channel, await self._handle(address, *decode_ask(body)))
            elif protocol == BLOB_PROTOCOL and kind is FrameType.DESCRIBE:
                await self._send(channel, await self._describe(address, decode_describe(body)))
            elif protocol == BLOB_PROTOCOL and kind is FrameType.CHUNK:
                await self._send_chunk(channel, address, *decode_chunk(body))
            else:
                raise MalformedFrame(f"{kind.name} on {protocol}")

    async def _greet(self, channel: Channel) -> None:
        with trio.move_on_after(self._stall_seconds) as scope:
            kind, body = await channel.receive(lambda: HELLO_BYTES, _nothing)
        if scope.cancelled_caught:
            raise SourceFailed(FaultKind.STALLED, "no hello")
        if kind is not FrameType.HELLO:
            raise MalformedFrame(f"{kind.name} instead of a hello")
        theirs = decode_hello(body)
        await self._send(channel, encode_hello(self._hello))  # the other side works out what is wrong by itself
        if (why := self._hello.disagreement(theirs)) is not None:
            await channel.drained(LINGER_SECONDS)
            raise Mismatch(theirs, why)

    async def _describe(self, address: Address, blob: bytes) -> bytes:
        if not self._may_serve(address, blob):
            return encode_refused(FaultKind.REFUSED, "you may not have this blob now")
        answer: bytes = await self._offload(_description, self._store, blob)
        return answer

    async def _send_chunk(self, channel: Channel, address: Address, blob: bytes, index: int) -> None:
        if not self._may_serve(address, blob):
            await self._send(channel, encode_refused(FaultKind.REFUSED, "you may not have this blob now"))
            return
        async with self._uploads:
            try:
                data: bytes = await self._offload(self._store.read_chunk, blob, index)
            except (BlobError, OSError) as error:
                await self._send(channel, _not_here(error))
                return
            await self._send(channel, frame(FrameType.DATA, size=len(data)))
            await self._send(channel, data)

    async def _handle(self, address: Address, kind: str, payload: bytes) -> bytes:
        handler = self.handlers.get(kind)
        if handler is None:
            return encode_refused(FaultKind.REFUSED, f"I have no handler for {kind!r}")
        try:
            answer = await handler(address, payload)
        except Exception as error:  # the boundary between two sites: the peer hears of it, and the host lives
            logger.warning("handler of %s failed on a message of %s", kind, address, exc_info=error)
            return encode_refused(FaultKind.REFUSED, f"my handler of {kind!r} failed")
        if len(answer) > MAX_REQUEST_BYTES:
            return encode_refused(FaultKind.REFUSED, f"my answer of {len(answer)} bytes is too large")
        return frame(FrameType.ANSWER, answer)

    async def _send(self, channel: Channel, data: bytes) -> None:
        """Send piece by piece, and give up on a peer that doesn't read what it asked for."""
        for start in range(0, len(data), FRAME_BYTES):
            with trio.move_on_after(self._stall_seconds) as scope:
                await channel.send(memoryview(data)[start : start + FRAME_BYTES])
            if scope.cancelled_caught:
                raise SourceFailed(
                    FaultKind.STALLED, f"it has not read for {self._stall_seconds:g} s what it asked for"
                )


def _description(store: BlobStore, blob: bytes) -> bytes:
    try:
        manifest = store.manifest(blob)
        if manifest.size > INLINE_BYTES:
            return encode_described(manifest.encode(), None)
        vector = b"".join(store.read_chunk(blob, index) for index in range(len(manifest.chunks)))
        return encode_described(manifest.encode(), vector)
    except (BlobError, OSError) as error:
        return _not_here(error)


def _not_here(error: Exception) -> bytes:
    if isinstance(error, OSError):
        logger.warning("the store failed: %s", error)
        return encode_refused(FaultKind.MISSING, "my store failed")
    return encode_refused(FaultKind.MISSING, "I don't have it")


def _nothing() -> None:
    pass
