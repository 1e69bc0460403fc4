"""Pulling, on a virtual clock and with sources made of plain Python."""

from collections.abc import Callable
from contextlib import suppress

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from network_world import LARGE, Store
from trio.testing import MockClock

from node.network.errors import PullFailed
from node.network.port import FaultKind, PeerFault
from node.network.pull import IN_FLIGHT, PATIENCE, RESCUE, SLOTS, Description, Puller, SourceFailed
from swarm.manifest import Manifest
from swarm.memory_store import MemoryStore

CHUNKS = 10
SCRIPTS = st.text("...!x?", max_size=30)


async def here(function: Callable[..., object], *args: object) -> object:
    await trio.lowlevel.checkpoint_if_cancelled()
    try:
        return function(*args)
    finally:
        await trio.lowlevel.cancel_shielded_checkpoint()


class Source:
    """A source with a script: what to do for each chunk that it is asked for, and how long to take."""

    def __init__(
        self, name: str, store: Store, script: str = "", seconds: float = 0.0, reader: MemoryStore | None = None
    ) -> None:
        self.address = name
        self.store = store
        self.script = list(script)
        self.seconds = seconds
        self.reader = reader
        self.asked: list[int] = []
        self.served: list[int] = []
        self.described = 0
        self.under_way = 0
        self.most_under_way = 0

    async def describe(self, blob: bytes) -> Description:
        self.described += 1
        await trio.sleep(self.seconds)
        return Description(self.store.manifest(blob).encode(), None)

    async def chunk(self, blob: bytes, index: int, size: int) -> bytes:
        if self.reader is not None:
            assert index in self.reader.receive(self.store.manifest(blob)).missing()
        self.asked.append(index)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await trio.sleep(self.seconds)
        finally:
            self.under_way -= 1
        deed = self.script.pop(0) if self.script else "."
        data = self.store.read_chunk(blob, index)
        if deed == "x":
            raise SourceFailed(FaultKind.UNREACHABLE, "cut", lost=True)
        if deed == "?":
            raise SourceFailed(FaultKind.MISSING, "gone")
        if deed == "!":
            return bytes(len(data))
        if deed == "s":
            await trio.sleep(1000)
        self.served.append(index)
        return data


def blob() -> tuple[Store, Manifest]:
    store = Store()
    return store, store.give(LARGE)


def pull(manifest: Manifest, sources: list[Source], into: MemoryStore) -> tuple[list[PeerFault], float]:
    """Pull on a virtual clock; gives the faults noted and the virtual seconds."""
    faults: list[PeerFault] = []
    ended = 0.0

    async def main() -> None:
        nonlocal ended
        try:
            await Puller(into, here, faults.append).pull(manifest.blob, sources, max_bytes=LARGE)
        finally:
            ended = trio.current_time()

    clock = MockClock(autojump_threshold=0)
    began = clock.current_time()
    trio.run(main, clock=clock)
    return faults, ended - began


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.text("..!x?", max_size=12), st.sampled_from([0.0, 0.1, 1.0])), max_size=4), st.integers(0, 10)
)
def test_one_honest_source_is_enough(others: list[tuple[str, float]], place: int) -> None:
    store, manifest = blob()
    sources = [Source(f"other {i}", store, script, seconds) for i, (script, seconds) in enumerate(others)]
    sources.insert(place, Source("honest", store, seconds=0.5))
    into = MemoryStore()
    pull(manifest, sources, into)
    assert [into.read_chunk(manifest.blob, i) for i in range(CHUNKS)] == [
        store.read_chunk(manifest.blob, i) for i in range(CHUNKS)
    ]


@settings(deadline=None, max_examples=60)
@given(st.lists(SCRIPTS, min_size=1, max_size=3))
def test_what_is_here_is_never_asked_for_again(scripts: list[str]) -> None:
    store, manifest = blob()
    into = MemoryStore()
    sources = [Source(f"source {i}", store, script, reader=into) for i, script in enumerate(scripts)]
    while not into.has(manifest.blob):
        with suppress(PullFailed):
            pull(manifest, sources, into)
    assert {index for source in sources for index in source.served} == set(range(CHUNKS))


def test_a_source_that_was_cut_is_asked_again_while_it_brings_something() -> None:
    store, manifest = blob()
    source = Source("flaky", store, "....x....x")
    assert pull(manifest, [source], MemoryStore()) == ([], 0.0)
    hopeless = Source("hopeless", store, "....xxxxxx")
    with pytest.raises(PullFailed) as failure:
        pull(manifest, [hopeless], MemoryStore())
    assert [fault.kind for fault in failure.value.faults] == [FaultKind.UNREACHABLE]


def test_a_silent_source_does_not_hold_up_the_others() -> None:
    store, manifest = blob()
    silent, honest = Source("silent", store, seconds=1000), Source("honest", store)
    faults, seconds = pull(manifest, [silent, honest], MemoryStore())
    assert (faults, seconds) == ([], PATIENCE)


def test_what_a_source_is_late_with_is_fetched_from_another() -> None:
    store, manifest = blob()
    silent, honest = Source("silent", store, ".ss"), Source("honest", store, seconds=0.1)
    faults, seconds = pull(manifest, [silent, honest], MemoryStore())
    assert faults == []
    assert sorted(honest.served + silent.served) == list(range(CHUNKS))
    assert RESCUE < seconds < RESCUE + 2


def test_where_every_chunk_takes_long_none_is_asked_for_twice() -> None:
    store, manifest = blob()
    slow = [Source(f"source {i}", store, seconds=seconds) for i, seconds in enumerate((3.0, 4.5))]
    pull(manifest, slow, MemoryStore())
    assert sorted(slow[0].asked + slow[1].asked) == list(range(CHUNKS))


def test_the_manifest_is_asked_of_one_source_when_it_answers() -> None:
    store, manifest = blob()
    sources = [Source(name, store) for name in "abc"]
    pull(manifest, sources, MemoryStore())
    assert [source.described for source in sources] == [1, 0, 0]


def test_requests_in_flight_are_bounded() -> None:
    store, manifest = blob()
    sources = [Source(f"source {i}", store, seconds=1.0) for i in range(12)]
    pull(manifest, sources, MemoryStore())
    assert max(source.most_under_way for source in sources) <= IN_FLIGHT
    assert sum(source.most_under_way for source in sources) <= SLOTS
