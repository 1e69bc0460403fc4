"""The network over libp2p: Noise and yamux over TCP on the site's own key, open to members only."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.peer.id import ID
from libp2p.protocol_muxer.exceptions import MultiselectError
from libp2p.protocol_muxer.multiselect import Multiselect
from libp2p.tools.anyio_service import background_trio_service
from libp2p.utils.address_validation import expand_wildcard_address
from multiaddr import Multiaddr
from multiaddr.exceptions import Error as MultiaddrError

from node.network import hardening
from node.network.channel import Channel, ChannelClosed
from node.network.errors import ListenFailed, RequestFailed
from node.network.frames import MalformedFrame, encode_ask, encode_hello
from node.network.gate import Gate
from node.network.peer import Peer
from node.network.peer_id import address_of, key_pair
from node.network.port import Address, FaultKind, Handler, Hello, MayServe, OnFault, PeerFault, Started, Traffic
from node.network.pull import Description, Puller, SourceFailed
from node.network.server import BLOB_PROTOCOL, CONTROL_PROTOCOL, Server
from node.network.swarm import make_swarm
from node.network.tuning import Tuning
from swarm.blobs import BlobStore
from swarm.manifest import Manifest

logger = logging.getLogger(__name__)

MAX_STREAMS_PER_PEER = 8
THREADS = 8  # that read, check and write blobs; of our own, so that a chain that hangs doesn't hold them
NOTE_SECONDS = 10.0  # in which one kind of fault of one caller is noted once

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
    ) -> None:
        encode_hello(hello)
        keys = key_pair(key)
        self._listen_on = [_tcp_address(text) for text in listen]
        self._announced = tuple(announce)
        self._hello = hello
        self._note = on_fault
        self._tuning = tuning
        self._gate = Gate()
        self._swarm = make_swarm(keys, self._gate, tuning)
        self._swarm.set_stream_handler(self._on_stream)
        self._swarm.on_connected = self._on_connected
        self._address = address_of(self._swarm.get_peer_id())
        offload = partial(trio.to_thread.run_sync, limiter=trio.CapacityLimiter(THREADS))
        self._server = Server(store, hello, may_serve, offload, tuning.stall)
        self._puller = Puller(store, offload, on_fault)
        self._protocols = Multiselect({TProtocol(name): None for name in (CONTROL_PROTOCOL, BLOB_PROTOCOL)})
        self._peers: dict[Address, Peer] = {}
        self._streams: Counter[Address] = Counter()
        self._traffic: dict[Address, Traffic] = {}
        self._noted: dict[tuple[Address, FaultKind], float] = {}
        self._nursery: trio.Nursery | None = None

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
        """Multiaddrs at which this site can be dialled; one for each network interface where it listens on all."""
        suffix = f"/p2p/{self._swarm.get_peer_id()}"
        if self._announced:
            return [text if "/p2p/" in text else text + suffix for text in self._announced]
        bound = [address for listener in self._swarm.listeners.values() for address in listener.get_addrs()]
        return [f"{one}{suffix}" for address in bound for one in expand_wildcard_address(address)]

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

    async def pull(self, blob: bytes, sources: Sequence[Address], *, max_bytes: int) -> Manifest:
        """As `Network.pull`."""
        lines = [_Line(self, address) for address in dict.fromkeys(sources) if address != self._address]
        return await self._puller.pull(blob, lines, max_bytes=max_bytes)

    async def request(self, address: Address, kind: str, payload: bytes) -> bytes:
        """As `Network.request`."""
        encode_ask(kind, payload)
        try:
            client = await self.peer(address).control()
            return await client.request(kind, payload)
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

    def _make_peer(self, address: Address) -> Peer:
        def count(sent: int, received: int) -> None:
            before = self._traffic.get(address, Traffic())
            self._traffic[address] = Traffic(before.sent + sent, before.received + received)

        return Peer(
            address,
            self._swarm,
            self._hello,
            self._tuning,
            dials_first=self._address < address,
            count=count,
            note=self._note,
        )

    async def _listen(self) -> ListenFailed | None:
        await self._swarm.listen(*self._listen_on)
        for address in self._listen_on:
            if str(address) not in self._swarm.listeners:
                return ListenFailed(
                    f"can't listen on {address}: the port is in use, or the address isn't this machine's. "
                    "Set `listen` to another one, or stop what uses it"
                )
        return None

    async def _run_peers(self, task_status: Started) -> None:
        async with trio.open_nursery() as self._nursery:
            for peer in self._peers.values():
                self._nursery.start_soon(peer.keep)
            task_status.started()
            await trio.sleep_forever()

    def _on_connected(self, peer_id: ID) -> None:
        peer = self._peers.get(address_of(peer_id))
        if peer is not None:
            peer.arrived(peer_id)

    async def _on_stream(self, stream: INetStream) -> None:
        """Serve one inbound stream. What a peer does, or a handler fails at, must never end the host."""
        address = address_of(stream.muxed_conn.peer_id)
        self._streams[address] += 1
        try:
            if address in self._peers and self._streams[address] <= MAX_STREAMS_PER_PEER:
                await self._serve(stream, address)
        except (ChannelClosed, BaseLibp2pError):
            pass  # it has left
        except MalformedFrame as malformed:
            self._note_caller(address, FaultKind.MALFORMED, str(malformed))
        except SourceFailed as failure:
            self._note_caller(address, failure.kind, failure.detail)
            if failure.kind is FaultKind.STALLED:
                stream.muxed_conn.cut()  # it would not take a reset
        except Exception:
            logger.exception("serving %s failed", address)
        finally:
            self._streams[address] -= 1
            with trio.CancelScope(shield=True):
                await stream.reset()

    def _note_caller(self, address: Address, kind: FaultKind, detail: str) -> None:
        """Note what a caller did, but don't let him fill the log."""
        now = trio.current_time()
        if now >= self._noted.get((address, kind), -NOTE_SECONDS) + NOTE_SECONDS:
            self._noted[address, kind] = now
            self._note(PeerFault(address, kind, detail))

    async def _serve(self, stream: INetStream, address: Address) -> None:
        try:
            protocol, _ = await self._protocols.negotiate(
                hardening.BoundedCommunicator(stream), int(self._tuning.connect) or 1
            )
        except MultiselectError:
            raise MalformedFrame("no protocol agreed on") from None
        peer = self._peers.get(address)
        if peer is not None:
            await self._server.serve(Channel(stream, peer.count), str(protocol), address)


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
) -> Libp2pNetwork:
    """A site's network on its 32-byte secp256k1 key; `listen` is one or more multiaddrs, port 0 for any.

    `announce` are the multiaddrs to publish in place of those it listens on (behind a router, or a name). Start it
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
    )
