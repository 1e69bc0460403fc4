"""The network over libp2p: Noise and yamux over TCP on the site's own key, open to members only."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import trio
from libp2p.abc import INetConn
from libp2p.tools.anyio_service import background_trio_service
from libp2p.utils.address_validation import expand_wildcard_address
from multiaddr import Multiaddr
from multiaddr.exceptions import Error as MultiaddrError

from node.network import hardening
from node.network.bell import Bell
from node.network.dialling import Ways
from node.network.errands import MAX_ADDRESSES, Errands
from node.network.errors import ListenFailed, RequestFailed
from node.network.frames import encode_ask, encode_hello
from node.network.gate import Gate
from node.network.inbound import Inbound
from node.network.notes import Notes
from node.network.peer import Peer
from node.network.peer_id import address_of, key_pair
from node.network.port import (
    Address,
    FaultKind,
    Handler,
    Hello,
    MayServe,
    OnFault,
    PeerFault,
    PeerView,
    Started,
    Traffic,
)
from node.network.pull import Description, Puller, SourceFailed
from node.network.reachability import Reachability
from node.network.relay.limits import RelayLimits, UseRelays
from node.network.relay.relaying import Relaying, direct_to
from node.network.relay.service import Relay
from node.network.server import Server
from node.network.swarm import make_swarm
from node.network.tcp import share_port
from node.network.tuning import Tuning
from node.network.whereabouts import Whereabouts
from swarm.blobs import BlobStore
from swarm.manifest import Manifest

logger = logging.getLogger(__name__)

THREADS = 8  # that read, check and write blobs; of our own, so that a chain that hangs doesn't hold them
ASKED = 3  # members that are asked where another one is

hardening.apply()


class Libp2pNetwork:
    """A `Network` of this process."""

    def __init__(
        self,
        key: bytes,
        store: BlobStore,
        hello: Hello,
        *,
        listen: Sequence[str],
        announce: Sequence[str],
        may_serve: MayServe,
        on_fault: OnFault,
        tuning: Tuning,
        relay: RelayLimits | None,
        use_relays: UseRelays,
    ) -> None:
        self._hello = replace(hello, relays=relay is not None)
        encode_hello(self._hello)
        keys = key_pair(key)
        self._listen_on = [_tcp_address(text) for text in listen]
        self._announced = tuple(announce)
        self._notes = Notes(on_fault)
        self._tuning = tuning
        self._gate = Gate()
        self._swarm = make_swarm(keys, self._gate, tuning)
        self._id = self._swarm.get_peer_id()
        self._address = address_of(self._id)
        self._peers: dict[Address, Peer] = {}
        self._traffic: dict[Address, Traffic] = {}
        self._news = Bell()
        self._nursery: trio.Nursery | None = None
        offload = partial(trio.to_thread.run_sync, limiter=trio.CapacityLimiter(THREADS))
        self._server = Server(store, self._hello, may_serve, offload, tuning.stall)
        self._puller = Puller(store, offload, self._notes.note)
        service = Relay(relay, partial(direct_to, self._peers), tuning.connect) if relay is not None else None
        self.errands = Errands(self._peers, self._swarm, service, self.addresses)
        self._server.handlers.update(self.errands.handlers())
        self.reachability = Reachability(self.errands, self._peers, self._own, use_relays, self._news, tuning)
        self.relaying = Relaying(
            self._swarm,
            self._peers,
            service,
            lambda: self.reachability.hidden,
            self.errands.seen_by,
            self._news,
            tuning,
        )
        self._whereabouts = Whereabouts(self.errands, self._peers, self.addresses, self._news, tuning)
        self._ways = Ways(self._swarm, tuning, self.relaying.source, self.relaying.places.relays, self.relaying.through)
        self._inbound = Inbound(self._peers, self._server, self.relaying.handlers(), self._notes, tuning)
        self._swarm.set_stream_handler(self._inbound.serve)
        self._swarm.on_connected = self._on_connected

    @property
    def address(self) -> Address:
        """This site's own address."""
        return self._address

    async def run(self, *, task_status: Started = trio.TASK_STATUS_IGNORED) -> None:
        """Listen, connect and serve until cancelled; raises ListenFailed."""
        failure = None
        async with background_trio_service(self._swarm):
            try:
                failure = await self._listen()
                if failure is None:
                    await self._run_peers(task_status)
            finally:
                with trio.CancelScope(shield=True):
                    self._gate.set_members(())
                    # Without this the library leaves the port open when its context ends.
                    await self._swarm.close()
        if failure is not None:
            raise failure

    def addresses(self) -> list[str]:
        """Multiaddrs at which this site can be called: its own, and those at relays while it needs them."""
        relayed = self.relaying.places.addresses()
        return [*self._own()[: MAX_ADDRESSES - len(relayed)], *relayed]

    def set_members(self, members: Mapping[Address, Sequence[str]]) -> None:
        """Replace the access list and the addresses to dial; who is no longer listed is cut off at once."""
        for gone in self._peers.keys() - members.keys():
            self._peers.pop(gone).scope.cancel()
        self._gate.set_members(members)
        for address, addresses in members.items():
            if address == self._address:
                continue
            peer = self._peers.get(address)
            if peer is None:
                peer = self._peers[address] = self._make_peer(address)
                if self._nursery is not None:
                    self._nursery.start_soon(peer.keep)
            peer.publish(addresses)

    def connected(self) -> set[Address]:
        """Members that have said hello and are connected now."""
        return set(self.hellos())

    def hellos(self) -> dict[Address, Hello]:
        """What each connected member said of itself."""
        said = {address: peer.hello for address, peer in self._peers.items()}
        return {address: hello for address, hello in said.items() if hello is not None}

    def peers(self) -> list[PeerView]:
        """Every other member, reachable or not."""
        return [self._peers[address].view() for address in sorted(self._peers)]

    async def pull(self, blob: bytes, sources: Sequence[Address], *, max_bytes: int) -> Manifest:
        """As `Network.pull`."""
        lines = [_Line(self, address) for address in dict.fromkeys(sources) if address != self._address]
        return await self._puller.pull(blob, lines, max_bytes=max_bytes)

    async def request(self, address: Address, kind: str, payload: bytes) -> bytes:
        """As `Network.request`."""
        encode_ask(kind, payload)
        try:
            control = await self.peer(address).control()
            return await control.request(kind, payload)
        except SourceFailed as failure:
            raise RequestFailed(PeerFault(address, failure.kind, failure.detail)) from None

    def handle(self, kind: str, handler: Handler) -> None:
        """Answer control messages of one kind."""
        self._server.handlers[kind] = handler

    def traffic(self) -> dict[Address, Traffic]:
        """Bytes exchanged with each peer since the start."""
        return dict(self._traffic)

    def peer(self, address: Address) -> Peer:
        """A member; raises SourceFailed where it isn't one."""
        peer = self._peers.get(address)
        if peer is None:
            raise SourceFailed(FaultKind.UNREACHABLE, "it isn't a member")
        return peer

    # -- starting

    def _make_peer(self, address: Address) -> Peer:
        def count(sent: int, received: int) -> None:
            before = self._traffic.get(address, Traffic())
            self._traffic[address] = Traffic(before.sent + sent, before.received + received)

        return Peer(
            address,
            self._ways,
            self._hello,
            dials_first=self._address < address,
            count=count,
            note=self._notes.note,
            changed=self._on_changed,
        )

    async def _listen(self) -> ListenFailed | None:
        await self._swarm.listen(*self._listen_on)
        for address in self._listen_on:
            if str(address) not in self._swarm.listeners:
                return ListenFailed(
                    f"can't listen on {address}: the port is in use, or the address isn't this machine's. "
                    "Set `listen` to another one, or stop what uses it"
                )
        for listener in self._swarm.listeners.values():
            share_port(listener)
        return None

    async def _run_peers(self, task_status: Started) -> None:
        async with trio.open_nursery() as self._nursery:
            for peer in self._peers.values():
                self._nursery.start_soon(peer.keep)
            for task in (self.reachability.run, self.relaying.run, self._whereabouts.run):
                self._nursery.start_soon(task)
            task_status.started()
            await trio.sleep_forever()

    def _own(self) -> list[str]:
        """Our addresses without those at relays; one for each network interface where we listen on all."""
        suffix = f"/p2p/{self._id}"
        if self._announced:
            return [text if "/p2p/" in text else text + suffix for text in self._announced]
        bound = [address for listener in self._swarm.listeners.values() for address in listener.get_addrs()]
        return [f"{one}{suffix}" for address in bound for one in expand_wildcard_address(address)]

    def _on_changed(self, address: Address) -> None:
        """A member's connection has come, gone, or not come."""
        self._news.ring()
        peer = self._peers.get(address)
        if peer is None or self._nursery is None:
            return
        if peer.hello is not None:
            self._notes.fits(address)
            self._nursery.start_soon(self._whereabouts.tell, address)
        else:
            self._nursery.start_soon(self._whereabouts.seek, address)

    def _on_connected(self, connection: INetConn) -> None:
        peer_id = connection.muxed_conn.peer_id
        peer = self._peers.get(address_of(peer_id))
        if peer is not None:
            peer.arrived(peer_id)
            self.relaying.arrived(connection)


class _Line:
    """A member as a place to get a blob from; a `Source`."""

    def __init__(self, network: Libp2pNetwork, address: Address) -> None:
        self.address = address
        self._network = network

    async def describe(self, blob: bytes) -> Description:
        client = await self._network.peer(self.address).blob()
        return await client.describe(blob)

    async def chunk(self, blob: bytes, index: int, size: int) -> memoryview:
        client = await self._network.peer(self.address).blob()
        return await client.chunk(blob, index, size)


def _tcp_address(text: str) -> Multiaddr:
    try:
        address = Multiaddr(text)
        address.value_for_protocol("tcp")
    except (MultiaddrError, ValueError, LookupError):
        raise ListenFailed(f"{text!r} is not a TCP multiaddr such as /ip4/0.0.0.0/tcp/4001") from None
    return address


def _ignore(fault: PeerFault) -> None:
    pass


def open_network(
    key: bytes,
    store: BlobStore,
    hello: Hello,
    *,
    listen: str | Sequence[str],
    may_serve: MayServe,
    announce: Sequence[str] = (),
    on_fault: OnFault = _ignore,
    tuning: Tuning | None = None,
    relay: RelayLimits | None = None,
    use_relays: UseRelays = UseRelays.NEVER,
) -> Libp2pNetwork:
    """A site's network on its 32-byte secp256k1 key; `listen` is one or more multiaddrs, port 0 for any.

    `announce` are the multiaddrs to publish in place of those it listens on (behind a router, or a name). With `relay`
    the site carries connections between members that can't reach each other, within these limits. Start it with
    with `await nursery.start(network.run)`.
    """
    return Libp2pNetwork(
        key,
        store,
        hello,
        listen=[listen] if isinstance(listen, str) else list(listen),
        announce=announce,
        may_serve=may_serve,
        on_fault=on_fault,
        tuning=tuning or Tuning(),
        relay=relay,
        use_relays=use_relays,
    )
