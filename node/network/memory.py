"""The in-memory twin: sites of one process that pull from each other's stores, with faults on demand.

It starts no thread and reads no clock but trio's, so that a test can run on trio's virtual clock.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import trio

from node.network.errors import RequestFailed
from node.network.frames import INLINE_BYTES
from node.network.port import (
    MAX_REQUEST_BYTES,
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
from swarm.blobs import BlobStore
from swarm.errors import BlobError
from swarm.manifest import Manifest

STALL_SECONDS = 10.0


class Misbehaviour(StrEnum):
    """What a test can make a site do to the others."""

    UNREACHABLE = "unreachable"
    STALL = "stall"
    CORRUPT = "corrupt"


class MemoryHub:
    """The cable between in-memory sites."""

    def __init__(self) -> None:
        self.sites: dict[Address, MemoryNetwork] = {}
        self.misbehaviour: dict[Address, Misbehaviour] = {}

    def reachable(self, one: Address, other: Address) -> bool:
        """Whether both run, list each other as members, agree on the hello, and neither is made unreachable."""
        sites = [self.sites.get(one), self.sites.get(other)]
        if any(site is None or self.misbehaviour.get(site.address) == Misbehaviour.UNREACHABLE for site in sites):
            return False
        return self.sites[one].accepts(self.sites[other]) and self.sites[other].accepts(self.sites[one])


class MemoryNetwork:
    """One site of a `MemoryHub`; a `Network`."""

    def __init__(
        self,
        hub: MemoryHub,
        address: Address,
        store: BlobStore,
        hello: Hello,
        *,
        may_serve: MayServe,
        on_fault: OnFault = lambda fault: None,
    ) -> None:
        self.store = store
        self.may_serve = may_serve
        self._address = address
        self._hub = hub
        self._hello = hello
        self._note = on_fault
        self._members: frozenset[Address] = frozenset()
        self._handlers: dict[str, Handler] = {}
        self._traffic: dict[Address, Traffic] = {}
        self._mismatched: dict[Address, str] = {}
        self._puller = Puller(store, _inline, on_fault)

    @property
    def address(self) -> Address:
        """This site's own address."""
        return self._address

    async def run(self, *, task_status: Started = trio.TASK_STATUS_IGNORED) -> None:
        """Be on the hub until cancelled."""
        self._hub.sites[self._address] = self
        try:
            task_status.started()
            await trio.sleep_forever()
        finally:
            del self._hub.sites[self._address]

    def addresses(self) -> list[str]:
        """One address that nobody needs to dial."""
        return [f"/memory/{self._address}/p2p/{self._address}"]

    def set_members(self, members: Mapping[Address, Sequence[str]]) -> None:
        """Replace the access list."""
        self._members = frozenset(members)

    def connected(self) -> set[Address]:
        """Members that can be reached now."""
        return {other for other in self._members - {self._address} if self._hub.reachable(self._address, other)}

    def hellos(self) -> dict[Address, Hello]:
        """What each of them says of itself."""
        return {other: self._hub.sites[other]._hello for other in self.connected()}

    def peers(self) -> list[PeerView]:
        """Every other member."""
        hellos = self.hellos()
        views = []
        for other in sorted(self._members - {self._address}):
            fault = None if other in hellos else self._mismatched.get(other, "not reachable")
            views.append(PeerView(other, other in hellos, None, hellos.get(other), fault))
        return views

    async def pull(self, blob: bytes, sources: Sequence[Address], *, max_bytes: int) -> Manifest:
        """As `Network.pull`."""
        lines = [_Line(self._hub, self, address) for address in sources if address != self._address]
        return await self._puller.pull(blob, lines, max_bytes=max_bytes)

    async def request(self, address: Address, kind: str, payload: bytes) -> bytes:
        """As `Network.request`."""
        if len(payload) > MAX_REQUEST_BYTES:
            raise ValueError(f"a control message of {len(payload)} bytes, at most {MAX_REQUEST_BYTES} are allowed")
        try:
            peer = await _Line(self._hub, self, address).peer()
            handler = peer._handlers.get(kind)
            if handler is None:
                raise SourceFailed(FaultKind.REFUSED, f"no handler for {kind!r}")
            try:
                answer = await handler(self._address, payload)
            except Exception as error:  # noqa: BLE001 - the boundary between two sites
                raise SourceFailed(FaultKind.REFUSED, f"its handler failed ({type(error).__name__})") from None
        except SourceFailed as failure:
            raise RequestFailed(PeerFault(address, failure.kind, failure.detail)) from None
        self.count(address, sent=len(payload), received=len(answer))
        peer.count(self._address, sent=len(answer), received=len(payload))
        return answer

    def handle(self, kind: str, handler: Handler) -> None:
        """Answer control messages of one kind."""
        self._handlers[kind] = handler

    def traffic(self) -> dict[Address, Traffic]:
        """Bytes exchanged with each peer since the start."""
        return dict(self._traffic)

    def accepts(self, other: "MemoryNetwork") -> bool:
        """Whether the other is a member that follows the same ledger; a mismatch is noted once."""
        if other.address not in self._members:
            return False
        why = self._hello.disagreement(other._hello)
        if why is not None and other.address not in self._mismatched:
            self._mismatched[other.address] = why
            self._note(PeerFault(other.address, FaultKind.MISMATCH, why))
        return why is None

    def count(self, address: Address, *, sent: int = 0, received: int = 0) -> None:
        """Add to the traffic with a peer."""
        before = self._traffic.get(address, Traffic())
        self._traffic[address] = Traffic(before.sent + sent, before.received + received)


class _Line:
    """The way from one site to another; a `Source`."""

    def __init__(self, hub: MemoryHub, reader: MemoryNetwork, address: Address) -> None:
        self.address = address
        self._hub = hub
        self._reader = reader

    async def peer(self) -> MemoryNetwork:
        """The other site; raises SourceFailed where it can't be reached or stalls."""
        await trio.lowlevel.checkpoint()
        if not self._hub.reachable(self._reader.address, self.address):
            raise SourceFailed(FaultKind.UNREACHABLE, "not connected")
        if self._hub.misbehaviour.get(self.address) == Misbehaviour.STALL:
            await trio.sleep(STALL_SECONDS)
            raise SourceFailed(FaultKind.STALLED, f"no byte for {STALL_SECONDS:.0f} s")
        return self._hub.sites[self.address]

    async def describe(self, blob: bytes) -> Description:
        peer = await self.peer()
        if not peer.may_serve(self._reader.address, blob):
            raise SourceFailed(FaultKind.REFUSED, "it may not serve us this blob")
        if not peer.store.has(blob):
            raise SourceFailed(FaultKind.MISSING, "it doesn't have the blob")
        manifest = peer.store.manifest(blob)
        encoded = manifest.encode()
        if manifest.size > INLINE_BYTES:
            return Description(self._moved(peer, encoded), None)
        inline = b"".join(peer.store.read_chunk(blob, index) for index in range(len(manifest.chunks)))
        return Description(self._moved(peer, encoded), self._moved(peer, inline))

    async def chunk(self, blob: bytes, index: int, size: int) -> bytes:
        peer = await self.peer()
        if not peer.may_serve(self._reader.address, blob):
            raise SourceFailed(FaultKind.REFUSED, "it may not serve us this blob")
        try:
            return self._moved(peer, peer.store.read_chunk(blob, index))
        except BlobError as error:
            raise SourceFailed(FaultKind.MISSING, str(error)) from None

    def _moved(self, peer: MemoryNetwork, data: bytes) -> bytes:
        peer.count(self._reader.address, sent=len(data))
        self._reader.count(self.address, received=len(data))
        if self._hub.misbehaviour.get(self.address) == Misbehaviour.CORRUPT:
            return bytes([data[0] ^ 1]) + data[1:]
        return data


async def _inline(function: Callable[..., Any], *args: Any) -> Any:
    await trio.lowlevel.checkpoint()
    return function(*args)
