"""Sites of one round in one process: their stores, the network between them, and what they committed."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import trio

from ledger.types import Commitment
from node.network.memory import MemoryHub, MemoryNetwork, Misbehaviour
from node.network.port import Address, Hello
from node.rounds.inputs import Inputs
from node.rounds.review import Entry, Gathered, Published, Reviewer
from node.rounds.stopwatch import Stopwatch
from swarm.manifest import BlobKind, Layout, TensorShape
from swarm.memory_store import MemoryStore
from swarm.merge import MergeRule, merge_updates
from swarm.moments import Moments, merge_moments, write_moments

HELLO = Hello(31337, "0x" + "Ab" * 20, "swarm-node/test")
LAYOUT: Layout = (TensorShape("w", (4,)),)
RULE = MergeRule(LAYOUT, "int32", scale_bits=8, bound=1000, weight_cap=100)
COLUMNS = 2
NAMES = ("ada", "bea", "cleo", "dora")


def give_update(store: MemoryStore, values: Sequence[int], layout: Layout = LAYOUT) -> bytes:
    data = np.array(values, "<i4").data
    return store.create(BlobKind.UPDATE, "int32", layout, [data], scale_bits=RULE.scale_bits).blob


def give_model(store: MemoryStore, values: Sequence[float]) -> bytes:
    return store.create(BlobKind.MODEL, "float32", LAYOUT, [np.array(values, "<f4").data]).blob


def give_moments(store: MemoryStore, count: int) -> bytes:
    return write_moments(store, Moments(count, (5,) * COLUMNS, (7,) * COLUMNS)).blob


def give_oversized(store: MemoryStore) -> bytes:
    return give_update(store, [1] * 400, (TensorShape("w", (400,)),))


def commitment(blob: bytes, weight: int = 1) -> Commitment:
    return Commitment(blob, weight, 0, bytes(32), 1, bytes(32))


class DamagedStore(MemoryStore):
    """A disk that changes what it keeps: a chunk of these blobs reads otherwise than it was written."""

    def __init__(self) -> None:
        super().__init__()
        self.damaged: set[bytes] = set()

    def read_chunk(self, blob: bytes, index: int) -> bytes:
        data = super().read_chunk(blob, index)
        return bytes([data[0] ^ 1]) + data[1:] if blob in self.damaged else data

    def delete(self, blob: bytes) -> None:
        super().delete(blob)
        self.damaged.discard(blob)


@dataclass
class RoundWorld:
    """Four sites; the first one is under test."""

    hub: MemoryHub = field(default_factory=MemoryHub)
    stores: dict[Address, DamagedStore] = field(default_factory=lambda: {name: DamagedStore() for name in NAMES})
    networks: dict[Address, MemoryNetwork] = field(default_factory=dict)
    withheld: dict[Address, set[bytes]] = field(default_factory=lambda: {name: set() for name in NAMES})
    base: bytes = b""

    def __post_init__(self) -> None:
        for name, store in self.stores.items():
            self.networks[name] = MemoryNetwork(
                self.hub, name, store, HELLO, may_serve=lambda _, blob, name=name: blob not in self.withheld[name]
            )
            self.networks[name].set_members(dict.fromkeys(NAMES, ()))
            self.base = give_model(store, [0.5, 0.25, -1, 3])
        self.inputs = Inputs(self.networks["ada"], self.mine, RULE, COLUMNS, Stopwatch())
        self.reviewer = Reviewer(self.inputs, self.mine, RULE, Stopwatch())

    @property
    def mine(self) -> DamagedStore:
        return self.stores["ada"]

    def entries(self, blobs: dict[Address, bytes], number: int = 1) -> tuple[Entry, ...]:
        """What these sites committed, with the weights 1, 2, 3, 4."""
        return tuple(
            Entry(number, name, seat, commitment(blobs[name], seat + 1))
            for seat, name in enumerate(NAMES)
            if name in blobs
        )

    def honest(self) -> dict[Address, bytes]:
        """An update at each site."""
        return {name: give_update(self.stores[name], [seat, 2, 3, 4]) for seat, name in enumerate(NAMES)}

    def output(self, blobs: dict[Address, bytes]) -> bytes:
        """What a merge of these sites' updates gives."""
        return merge_updates(self._all(blobs), self.base, self._weighted(blobs), RULE).blob

    def summed(self, blobs: dict[Address, bytes]) -> bytes:
        """What the statistics of these sites add up to."""
        return merge_moments(self._all(blobs), list(blobs.values())).blob

    async def gather(self, entries: tuple[Entry, ...], give_up: float = 10.0, number: int = 1) -> Gathered:
        return await self.reviewer.gather(number, entries, give_up)

    async def review(
        self, entries: tuple[Entry, ...], output: bytes, left_out: dict[Address, int] | None = None, number: int = 1
    ) -> object:
        """Review what `bea` published, which leaves out these sites for these reasons."""
        reasons = left_out or {}
        merged = sum(1 << entry.seat for entry in entries if entry.site not in reasons)
        in_order = bytes(reasons[entry.site] for entry in entries if entry.site in reasons)
        base = self.base if number else None
        return await self.reviewer.review(number, base, entries, Published("bea", output, merged, in_order), 10.0)

    def _all(self, blobs: dict[Address, bytes]) -> MemoryStore:
        """One store with everything in it."""
        store = MemoryStore()
        give_model(store, [0.5, 0.25, -1, 3])
        for name, blob in blobs.items():
            manifest = self.stores[name].manifest(blob)
            receiver = store.receive(manifest)
            for index in receiver.missing():
                receiver.write(index, self.stores[name].read_chunk(blob, index))
            receiver.finish()
        return store

    def _weighted(self, blobs: dict[Address, bytes]) -> list[tuple[bytes, int]]:
        return [(blob, NAMES.index(name) + 1) for name, blob in blobs.items()]


@asynccontextmanager
async def connected() -> AsyncIterator[RoundWorld]:
    """The four sites, all of them on the network."""
    world = RoundWorld()
    async with trio.open_nursery() as nursery:
        for network in world.networks.values():
            await nursery.start(lambda task_status, network=network: network.run(task_status=task_status))
        yield world
        nursery.cancel_scope.cancel()


__all__ = ["Misbehaviour", "RoundWorld", "connected"]
