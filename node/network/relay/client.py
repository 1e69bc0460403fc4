"""Using a relay: keeping a place at one, calling a member through one, and being called."""

import time
from collections.abc import Callable
from contextlib import suppress

import trio
from google.protobuf.message import Message
from libp2p.abc import INetConn, INetStream
from libp2p.exceptions import BaseLibp2pError
from libp2p.peer.id import ID
from libp2p.relay.circuit_v2.pb.circuit_pb2 import HopMessage, Status, StopMessage
from multiaddr import Multiaddr

from node.network.channel import ChannelClosed, open_stream
from node.network.frames import MalformedFrame
from node.network.port import Address, FaultKind
from node.network.pull import SourceFailed
from node.network.relay import wire
from node.network.relay.circuit import Circuit, raw_connection
from node.network.swarm import SturdySwarm

SHORTEST_SECONDS = 10.0


async def reserve(connection: INetConn) -> float:
    """Ask a relay for a place; gives the seconds until it lapses. Raises SourceFailed."""
    stream, said = await _asked(connection, wire.reserve())
    with trio.CancelScope(shield=True):
        await stream.reset()
    return max(SHORTEST_SECONDS, said.reservation.expire - time.time())


async def call(connection: INetConn, relay: Address, peer: ID, swarm: SturdySwarm, nursery: trio.Nursery) -> INetConn:
    """Call a peer through a relay: a connection like any other, proven and encrypted from end to end.

    Raises SourceFailed, and what libp2p raises where the handshake with the peer fails.
    """
    stream, _ = await _asked(connection, wire.connect(peer))
    circuit = Circuit(stream, relay)
    connected = False
    try:
        await circuit.widen()
        through = await swarm.upgrade_outbound_raw_conn(raw_connection(circuit, initiator=True), peer)
        nursery.start_soon(_close_with, through, circuit)
        connected = True
    finally:
        if not connected:
            await circuit.close()
    return through


async def answer(
    stream: INetStream, relay: Address, allowed: Callable[[ID], bool], swarm: SturdySwarm, patience: float
) -> None:
    """Be called: serve the connection that a relay announces until it ends; raises ChannelClosed, MalformedFrame."""
    with trio.move_on_after(patience) as scope:
        message = await wire.read(stream, StopMessage)
    if scope.cancelled_caught:
        raise MalformedFrame("a call that is never made")
    if message.type != StopMessage.CONNECT:
        raise MalformedFrame("not a call")
    if not _let_in(wire.peer_of(message), allowed):
        await wire.write(stream, wire.stop_status(Status.PERMISSION_DENIED))
        await wire.linger(stream)
        return
    await wire.write(stream, wire.stop_status(Status.OK))
    circuit = Circuit(stream, relay)
    try:
        await circuit.widen()
        where = Multiaddr(f"/p2p/{stream.muxed_conn.peer_id}/p2p-circuit")
        await swarm.serve_raw_conn(raw_connection(circuit, initiator=False), where)
    finally:
        await circuit.close()


def _let_in(caller: ID, allowed: Callable[[ID], bool]) -> bool:
    try:
        return allowed(caller)
    except ValueError:
        return False


async def _asked(connection: INetConn, request: Message) -> tuple[INetStream, HopMessage]:
    """A stream on which the relay has said yes, and what it said."""
    stream, agreed = None, False
    try:
        stream = await open_stream(connection, wire.HOP_PROTOCOL)
        await wire.write(stream, request)
        said = await wire.read(stream, HopMessage)
        if said.type != HopMessage.STATUS or said.status != Status.OK:
            raise SourceFailed(FaultKind.REFUSED, f"the relay says: {wire.status_name(said.status)}")
        agreed = True
        return stream, said
    except ChannelClosed as closed:
        raise SourceFailed(FaultKind.UNREACHABLE, f"the relay is lost: {closed}") from None
    except MalformedFrame as malformed:
        raise SourceFailed(FaultKind.MALFORMED, f"the relay breaks the protocol: {malformed}") from None
    finally:
        if stream is not None and not agreed:
            with trio.CancelScope(shield=True):
                await stream.reset()


async def _close_with(connection: INetConn, circuit: Circuit) -> None:
    """When the connection ends, tell the relay."""
    try:
        await connection.muxed_conn.event_closed.wait()
    finally:
        with suppress(BaseLibp2pError):
            await circuit.close()
