"""DCUtR: two sites that a relay connects dial each other at the same instant, each from the port that it listens on.

Each one's router has then just seen a packet go out to the other, and lets the other's in; what comes of it is one TCP
connection, opened from both ends, on which the site that was called plays the server. Where a router gives each
connection a port of its own choice, nobody can know where to dial, and the sites stay with the relay.

The library's service for this needs its host, and reads the addresses to offer from its identify; here the relay,
who is a member and sees them, is asked.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

import trio
from libp2p.abc import INetConn, INetStream
from libp2p.exceptions import BaseLibp2pError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.relay.circuit_v2.pb.dcutr_pb2 import HolePunch
from multiaddr import Multiaddr
from multiaddr.exceptions import Error as MultiaddrError

from node.network.channel import ChannelClosed, open_stream
from node.network.dialling import Source
from node.network.frames import MalformedFrame
from node.network.peer_id import tcp_address
from node.network.port import Address
from node.network.pull import SourceFailed
from node.network.relay import wire
from node.network.relay.circuit import relay_of
from node.network.swarm import SturdySwarm
from node.network.tcp import BufferedTcp, connect_from
from node.network.tuning import Tuning

logger = logging.getLogger(__name__)

ATTEMPTS = 3
MAX_TARGETS = 4
AGAIN_SECONDS = 0.05
HEAD_START = 0.03  # seconds by which the site that called dials first, so that its roles are the likely ones

Target = tuple[str, int]


class Puncher:
    """Both sides of it."""

    def __init__(
        self,
        swarm: SturdySwarm,
        source: Callable[[], Source | None],
        seen_by: Callable[[Address], Awaitable[list[str]]],
        tuning: Tuning,
    ) -> None:
        self._swarm = swarm
        self._source = source
        self._seen_by = seen_by
        self._tuning = tuning

    async def lead(self, connection: INetConn, nursery: trio.Nursery) -> None:
        """Try to replace a relayed connection by which we were called; the new one lives in the nursery."""
        peer = connection.muxed_conn.peer_id
        for _ in range(ATTEMPTS):
            if self._swarm.direct(peer) is not None or connection.muxed_conn.event_shutting_down.is_set():
                return
            try:
                with trio.fail_after(2 * self._tuning.connect + self._tuning.punch):
                    await self._lead(connection, peer, nursery)
            except (ChannelClosed, MalformedFrame, SourceFailed, trio.TooSlowError, ValueError, KeyError) as error:
                logger.info("no direct connection with %s: %s", peer, error)
        if self._swarm.direct(peer) is None:
            logger.info("no direct connection with %s could be opened: the relay goes on carrying it", peer)

    async def _lead(self, connection: INetConn, peer: ID, nursery: trio.Nursery) -> None:
        stream = await open_stream(connection, wire.PUNCH_PROTOCOL)
        try:
            mine = await self._mine(connection)
            began = trio.current_time()
            await wire.write(stream, wire.punch(mine))
            theirs = _targets(await _said(stream, HolePunch.CONNECT))
            way_there = (trio.current_time() - began) / 2
            await wire.write(stream, wire.now())
            await trio.sleep(way_there + HEAD_START)
            await self._dial(theirs, peer, nursery)
        finally:
            with trio.CancelScope(shield=True):
                await stream.reset()

    async def follow(self, stream: INetStream, connection: INetConn) -> None:
        """Answer the site that leads; raises ChannelClosed and MalformedFrame."""
        theirs = _targets(await _said(stream, HolePunch.CONNECT))
        await wire.write(stream, wire.punch(await self._mine(connection)))
        await _said(stream, HolePunch.SYNC)
        await self._dial(theirs, connection.muxed_conn.peer_id, None)

    async def _mine(self, connection: INetConn) -> list[bytes]:
        relay = relay_of(connection.muxed_conn)
        if relay is None:
            raise MalformedFrame("a direct connection needs no other")
        seen = await self._seen_by(relay)
        return [Multiaddr(text).to_bytes() for text in seen[:MAX_TARGETS]]

    async def _dial(self, targets: Sequence[Target], peer: ID, serving: trio.Nursery | None) -> None:
        """Dial all; where we are to play the server on the connection, it lives in the nursery."""
        source = self._source()
        if source is None:
            return
        async with trio.open_nursery() as nursery:
            for target in targets:
                nursery.start_soon(self._knock, source, target, peer, serving, nursery.cancel_scope)

    async def _knock(
        self, source: Source, target: Target, peer: ID, serving: trio.Nursery | None, won: trio.CancelScope
    ) -> None:
        """Dial one address until it answers or the time is over."""
        over = trio.current_time() + self._tuning.punch
        while trio.current_time() < over and self._swarm.direct(peer) is None:
            stream = None
            with trio.move_on_at(over):
                try:
                    stream = await connect_from(source, *target)
                except OSError as error:
                    logger.debug("a punch from %s to %s: %s", source, target, error)
                    await trio.sleep(AGAIN_SECONDS)
            if stream is not None and await self._upgrade(stream, target, peer, serving):
                won.cancel()
                return

    async def _upgrade(self, stream: trio.SocketStream, target: Target, peer: ID, serving: trio.Nursery | None) -> bool:
        raw = RawConnection(BufferedTcp(stream), serving is None)
        try:
            with trio.fail_after(self._tuning.connect):
                if serving is None:
                    await self._swarm.upgrade_outbound_raw_conn(raw, peer)
                    return True
                serving.start_soon(self._swarm.serve_raw_conn, raw, Multiaddr(tcp_address(target)))
                while self._swarm.direct(peer) is None and raw.stream.is_open:
                    await trio.sleep(AGAIN_SECONDS)
                return self._swarm.direct(peer) is not None
        except (BaseLibp2pError, trio.TooSlowError) as error:
            logger.debug("a punched connection with %s failed: %s", peer, error)
            raw.stream.cut()
            return False


async def _said(stream: INetStream, kind: int) -> HolePunch:
    message = await wire.read(stream, HolePunch)
    if message.type != kind:
        raise MalformedFrame("a hole punch out of order")
    return message


def _targets(message: HolePunch) -> list[Target]:
    """The addresses to dial: few, and none that would have us call this machine or everybody."""
    targets = []
    for raw in list(message.ObsAddrs)[:MAX_TARGETS]:
        try:
            parts = {protocol.name: value for protocol, value in Multiaddr(bytes(raw)).items()}
            host, port = ip_address(parts.get("ip4") or parts["ip6"]), int(parts["tcp"])
        except (MultiaddrError, ValueError, LookupError, TypeError):
            raise MalformedFrame("an address to dial that is none") from None
        if _may_be_dialled(host):
            targets.append((str(host), port))
    return targets


def _may_be_dialled(host: IPv4Address | IPv6Address) -> bool:
    return not (host.is_multicast or host.is_unspecified or host.is_loopback or host.is_link_local)
