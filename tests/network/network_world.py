"""Sites for network tests: their stores, keys and faults, over the in-memory twin or over libp2p."""

import struct
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from node.network.host import open_network
from node.network.memory import MemoryHub, MemoryNetwork
from node.network.port import Address, Hello, Network, PeerFault
from node.network.relay.limits import RelayLimits, UseRelays
from node.network.tuning import Tuning
from swarm.manifest import BlobKind, Manifest, TensorShape
from swarm.memory_store import MemoryStore

HELLO = Hello(31337, "0x" + "Ab" * 20, "swarm-node/test")
LISTEN = "/ip4/127.0.0.1/tcp/0"
QUICK = Tuning(retry=0.02, retry_most=0.2, courtesy=0.05)
SMALL = 1_000  # bytes that come with their manifest
LARGE = 1_000_000  # bytes that come in ten chunks
CHUNK = 100_000


@dataclass
class Store(MemoryStore):
    """A memory store that a test can make lie, and that counts what it is asked for."""

    lies: bool = False
    asked: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def read_chunk(self, blob: bytes, index: int) -> bytes:
        self.asked.append(index)
        data = super().read_chunk(blob, index)
        return bytes([data[0] ^ 1]) + data[1:] if self.lies else data

    def give(self, size: int, fill: int = 7) -> Manifest:
        """Make a blob; the same arguments make the same blob."""
        pattern = bytes(range(256)) * (CHUNK // 256 + 1)
        starts = range(0, size, CHUNK)
        chunks = [(struct.pack("!HH", fill, i // CHUNK) + pattern)[: min(CHUNK, size - i)] for i in starts]
        layout = (TensorShape("w", (size // 4,)),)
        return self.create(BlobKind.UPDATE, "int32", layout, chunks, chunk_elements=CHUNK // 4)


@dataclass
class Site:
    """One site under test."""

    network: Network
    store: Store
    faults: list[PeerFault]
    refuses: set[bytes] = field(default_factory=set)

    @property
    def address(self) -> Address:
        return self.network.address

    def kinds(self) -> list[str]:
        return [fault.kind.value for fault in self.faults]


def key_of(number: int) -> bytes:
    return bytes([number + 1]) * 32


def make_libp2p(
    number: int,
    hello: Hello = HELLO,
    tuning: Tuning = QUICK,
    listen: str = LISTEN,
    relay: RelayLimits | None = None,
    use_relays: UseRelays = UseRelays.NEVER,
    announce: tuple[str, ...] = (),
) -> Site:
    store, faults, refuses = Store(), [], set()
    network = open_network(
        key_of(number),
        store,
        hello,
        listen=listen,
        announce=announce,
        may_serve=lambda address, blob: blob not in refuses,
        on_fault=faults.append,
        tuning=tuning,
        relay=relay,
        use_relays=use_relays,
    )
    return Site(network, store, faults, refuses)


class Libp2pWorld:
    def make(self, number: int, hello: Hello = HELLO) -> Site:
        return make_libp2p(number, hello)


class MemoryWorld:
    def __init__(self) -> None:
        self.hub = MemoryHub()

    def make(self, number: int, hello: Hello = HELLO) -> Site:
        store, faults, refuses = Store(), [], set()
        address = open_network(key_of(number), store, hello, listen=LISTEN, may_serve=lambda a, b: False).address
        network = MemoryNetwork(
            self.hub, address, store, hello, may_serve=lambda a, blob: blob not in refuses, on_fault=faults.append
        )
        return Site(network, store, faults, refuses)


@asynccontextmanager
async def running(*sites: Site) -> AsyncIterator[None]:
    """Run the sites, who are members to each other, until the block ends."""
    async with trio.open_nursery() as nursery:
        for site in sites:
            await nursery.start(site.network.run)
        introduce(sites)
        yield
        nursery.cancel_scope.cancel()


def introduce(sites: Iterable[Site]) -> None:
    members = {site.address: site.network.addresses() for site in sites}
    for site in sites:
        site.network.set_members(members)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that nothing announces; the test's own time limit ends a vain wait."""
    while not condition():
        await trio.sleep(0.005)


async def meshed(*sites: Site) -> None:
    await until(lambda: all(len(site.network.connected()) == len(sites) - 1 for site in sites))
