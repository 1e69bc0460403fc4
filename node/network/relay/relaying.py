"""A site's part in relaying: it carries others' connections where it offers to, is called through relays, and calls."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from weakref import WeakSet

import trio
from libp2p.abc import INetConn, INetStream
from libp2p.exceptions import BaseLibp2pError
from libp2p.peer.id import ID

from node.network.bell import Bell
from node.network.dialling import Source
from node.network.gate import pipe_of
from node.network.inbound import Handle
from node.network.peer import Peer
from node.network.peer_id import address_of
from node.network.port import Address, FaultKind
from node.network.pull import SourceFailed
from node.network.relay import client, wire
from node.network.relay.circuit import relay_of
from node.network.relay.punch import Puncher
from node.network.relay.reservations import Reservations
from node.network.relay.service import Relay
from node.network.swarm import SturdySwarm
from node.network.tcp import BufferedTcp
from node.network.tuning import Tuning


class Relaying:
    """Puts the relay, the reservations and the hole puncher of one site together."""

    def __init__(
        self,
        swarm: SturdySwarm,
        peers: Mapping[Address, Peer],
        relay: Relay | None,
        hidden: Callable[[], bool],
        seen_by: Callable[[Address], Awaitable[list[str]]],
        news: Bell,
        tuning: Tuning,
    ) -> None:
        self._swarm = swarm
        self._peers = peers
        self.relay = relay
        self._hidden = hidden
        self._tuning = tuning
        self._from_port: WeakSet[INetConn] = WeakSet()
        self._nursery: trio.Nursery | None = None
        self.places = Reservations(swarm.get_peer_id(), peers, hidden, self._call_from_port, news, tuning)
        self._puncher = Puncher(swarm, self.source, seen_by, tuning)

    def handlers(self) -> dict[str, Handle]:
        """What serves the streams that members open for it."""
        handlers: dict[str, Handle] = {wire.STOP_PROTOCOL: self._called, wire.PUNCH_PROTOCOL: self._punched}
        if self.relay is not None:
            handlers[wire.HOP_PROTOCOL] = self._hop
        return handlers

    async def run(self) -> None:
        """Keep the reservations, and what connections through relays need, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            await self.places.run()

    def source(self) -> Source | None:
        """The port to call from: the one that we listen on, where a router may have to map it; else any."""
        if not self._hidden():
            return None
        bound = [address for listener in self._swarm.listeners.values() for address in listener.get_addrs()]
        for one in sorted(bound, key=str):
            parts = {protocol.name: str(value) for protocol, value in one.items()}
            return parts.get("ip4") or parts["ip6"], int(parts["tcp"])
        return None

    async def through(self, relay: Address, peer: ID) -> INetConn:
        """Call a peer through a relay; raises SourceFailed, and what libp2p raises where the handshake fails."""
        connection = direct_to(self._peers, relay)
        if connection is None or self._nursery is None:
            raise SourceFailed(FaultKind.UNREACHABLE, "the relay isn't connected")
        return await client.call(connection, relay, peer, self._swarm, self._nursery)

    def arrived(self, connection: INetConn) -> None:
        """A connection is up: where somebody has called through a relay, see whether it can be had without."""
        muxed = connection.muxed_conn
        if relay_of(muxed) is not None and not muxed.secured_conn.is_initiator and self._nursery is not None:
            self._nursery.start_soon(self._puncher.lead, connection, self._nursery)

    async def _call_from_port(self, relay: Address) -> None:
        """Be connected to a relay from the port that we listen on, so that it sees what a router makes of that one."""
        source, connection, peer = self.source(), direct_to(self._peers, relay), self._peers[relay]
        if source is None or connection is None or connection in self._from_port:
            return
        pipe = pipe_of(connection.muxed_conn.secured_conn)
        if isinstance(pipe, BufferedTcp) and pipe.is_open and pipe.stream.socket.getsockname()[1] != source[1]:
            for target_id, target in peer.dialler.targets():
                with suppress(BaseLibp2pError), trio.move_on_after(self._tuning.connect):
                    connection = await self._swarm.dial_addr(target, target_id, source)
                    break
        self._from_port.add(connection)

    async def _hop(self, stream: INetStream, address: Address) -> None:
        if self.relay is not None:
            await self.relay.serve(stream, stream.muxed_conn.peer_id, relay_of(stream.muxed_conn) is not None)

    async def _called(self, stream: INetStream, relay: Address) -> None:
        def allowed(caller: ID) -> bool:
            return self.places.held(relay) and address_of(caller) in self._peers

        await client.answer(stream, relay, allowed, self._swarm, self._tuning.connect)

    async def _punched(self, stream: INetStream, address: Address) -> None:
        with trio.move_on_after(2 * self._tuning.connect + self._tuning.punch):
            await self._puncher.follow(stream, stream.swarm_conn)


def direct_to(peers: Mapping[Address, Peer], address: Address) -> INetConn | None:
    """A live, direct connection to a current member."""
    peer = peers.get(address)
    return peer.direct() if peer is not None else None
