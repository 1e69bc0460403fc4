"""The relay itself, at a member that offers to be one: reservations, circuits, and their limits."""

import logging
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable

import trio
from libp2p.abc import INetConn, INetStream
from libp2p.exceptions import BaseLibp2pError
from libp2p.peer.id import ID
from libp2p.relay.circuit_v2.pb.circuit_pb2 import HopMessage, Status, StopMessage

from node.network.channel import ChannelClosed, open_stream
from node.network.frames import MalformedFrame
from node.network.peer_id import address_of
from node.network.port import Address, FaultKind
from node.network.pull import SourceFailed
from node.network.relay import wire
from node.network.relay.limits import RelayLimits

logger = logging.getLogger(__name__)

PIECE_BYTES = 1 << 17
WINDOW_BYTES = 1 << 20  # per circuit and direction: what a slow receiver makes the relay hold

Connection = Callable[[Address], INetConn | None]
"""A live, direct connection to a current member; None where there is none, or it isn't a member."""


class Relay:
    """Serves the hop protocol to members. Who may connect to us at all, the gate has settled."""

    def __init__(self, limits: RelayLimits, connection: Connection, patience: float) -> None:
        self.limits = limits
        self.carried = 0  # bytes, both ways, since the start
        self._connection = connection
        self._patience = patience
        self._reserved: dict[Address, float] = {}  # until when, by trio's clock
        self._open: Counter[Address] = Counter()
        self._circuits = 0
        self._asked: defaultdict[Address, deque[float]] = defaultdict(deque)

    def reservations(self) -> set[Address]:
        """The members that may be called through us now."""
        now = trio.current_time()
        self._reserved = {address: until for address, until in self._reserved.items() if until > now}
        return {address for address in self._reserved if self._connection(address) is not None}

    async def serve(self, stream: INetStream, caller: ID, relayed: bool) -> None:
        """Answer one request, and carry a circuit until it ends; raises what a caller does to a stream."""
        address = address_of(caller)
        with trio.move_on_after(self._patience) as scope:
            message = await wire.read(stream, HopMessage)
        if scope.cancelled_caught:
            raise SourceFailed(FaultKind.STALLED, "a stream to the relay on which it asks nothing")
        if self._floods(address):
            await self._refuse(stream, Status.RESOURCE_LIMIT_EXCEEDED)
            limit = self.limits.requests_per_minute
            raise SourceFailed(FaultKind.MALFORMED, f"it asked the relay more than {limit} times in a minute")
        if relayed:
            await self._refuse(stream, Status.PERMISSION_DENIED)
        elif message.type == HopMessage.RESERVE:
            await self._reserve(stream, address)
        elif message.type == HopMessage.CONNECT:
            await self._connect(stream, caller, wire.peer_of(message))
        else:
            await self._refuse(stream, Status.UNEXPECTED_MESSAGE)

    def _floods(self, address: Address) -> bool:
        now, asked = trio.current_time(), self._asked[address]
        while asked and asked[0] < now - 60:
            asked.popleft()
        if len(asked) >= self.limits.requests_per_minute:
            return True
        asked.append(now)
        return False

    async def _reserve(self, stream: INetStream, address: Address) -> None:
        held = self.reservations() - {address}
        if len(held) >= self.limits.reservations:
            await self._refuse(stream, Status.RESERVATION_REFUSED)
            return
        seconds = self.limits.reservation_seconds
        self._reserved[address] = trio.current_time() + seconds
        await wire.write(stream, wire.reserved(int(time.time() + seconds), self.limits))
        await wire.linger(stream)

    async def _connect(self, stream: INetStream, caller: ID, called: ID) -> None:
        try:
            source, target = address_of(caller), address_of(called)
        except ValueError as error:
            raise MalformedFrame(str(error)) from None
        if source == target or target not in self.reservations():
            await self._refuse(stream, Status.NO_RESERVATION)
            return
        if self._full(source) or self._full(target):
            await self._refuse(stream, Status.RESOURCE_LIMIT_EXCEEDED)
            return
        for end in (source, target):
            self._open[end] += 1
        self._circuits += 1
        try:
            await self._carry(stream, caller, target)
        finally:
            self._circuits -= 1
            for end in (source, target):
                self._open[end] -= 1

    def _full(self, address: Address) -> bool:
        return self._circuits >= self.limits.circuits or self._open[address] >= self.limits.circuits_per_member

    async def _carry(self, near: INetStream, caller: ID, target: Address) -> None:
        far = None
        with trio.move_on_after(self._patience):
            far = await self._call(caller, target)
        if far is None:
            await self._refuse(near, Status.CONNECTION_FAILED)
            return
        try:
            await wire.write(near, wire.hop_status(Status.OK))
            with trio.move_on_after(self.limits.circuit_seconds):
                await self._pump_both(near, far)
        finally:
            with trio.CancelScope(shield=True):
                await far.reset()

    async def _call(self, caller: ID, target: Address) -> INetStream | None:
        """A stream to the called member, which has agreed; None where it can't be had."""
        connection = self._connection(target)
        if connection is None:
            return None
        far = None
        agreed = False
        try:
            far = await open_stream(connection, wire.STOP_PROTOCOL)
            await wire.write(far, wire.incoming(caller, self.limits))
            answer = await wire.read(far, StopMessage)
            agreed = answer.type == StopMessage.STATUS and answer.status == Status.OK
        except (ChannelClosed, MalformedFrame) as error:
            logger.info("%s can't be called through this relay: %s", target, error)
        finally:
            if far is not None and not agreed:
                with trio.CancelScope(shield=True):
                    await far.reset()
        return far if agreed else None

    async def _pump_both(self, near: INetStream, far: INetStream) -> None:
        async with trio.open_nursery() as nursery:
            for source, sink in ((near, far), (far, near)):
                nursery.start_soon(self._pump, source, sink, nursery.cancel_scope)

    async def _pump(self, source: INetStream, sink: INetStream, both: trio.CancelScope) -> None:
        budget = self.limits.circuit_bytes
        try:
            await source.muxed_stream.widen(WINDOW_BYTES)
            while budget > 0:
                piece = await source.muxed_stream.read(min(PIECE_BYTES, budget))
                if not piece:
                    break
                await sink.muxed_stream.write(piece)
                budget -= len(piece)
                self.carried += len(piece)
        except BaseLibp2pError:
            pass  # one end has left, which is how a circuit ends
        both.cancel()

    async def _refuse(self, stream: INetStream, status: Status.ValueType) -> None:
        await wire.write(stream, wire.hop_status(status))
        await wire.linger(stream)
