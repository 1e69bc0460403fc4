"""Pulling a blob from several sources at once: a shared queue of chunks, each verified when it arrives."""

import hashlib
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import trio

from node.network.errors import BlobUnusable, PullFailed
from node.network.port import Address, FaultKind, Hello, OnFault, PeerFault
from swarm.blobs import BlobStore, Receiver
from swarm.errors import BlobError, BlobInvalid
from swarm.manifest import Manifest

IN_FLIGHT = 2  # per source: the next chunk travels while this one is verified and written
SLOTS = 16  # chunks in memory over all pulls of a site
RESCUE = 1.0  # seconds without work, after which a source also asks for what another one is late with
PATIENCE = 0.3  # seconds that the first source gets to describe the blob before the next one is asked as well

Offload = Callable[..., Awaitable[Any]]


class SourceFailed(Exception):
    """One source failed; the others go on. `lost` where a connection was there and broke: it may be worth another."""

    def __init__(self, kind: FaultKind, detail: str, *, lost: bool = False) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.lost = lost

    def again(self) -> "SourceFailed":
        """The same for another task to raise."""
        return SourceFailed(self.kind, self.detail, lost=self.lost)


class Mismatch(SourceFailed):
    """The peer speaks another protocol or follows another ledger: what it said, and why that won't do."""

    def __init__(self, theirs: Hello, detail: str) -> None:
        super().__init__(FaultKind.MISMATCH, detail)
        self.theirs = theirs


@dataclass(frozen=True, slots=True)
class Description:
    """A manifest as a source sent it; with the whole vector where that is small."""

    manifest: bytes
    inline: bytes | None


class Source(Protocol):
    """One member as a place to get a blob from. Both calls raise SourceFailed."""

    @property
    def address(self) -> Address:
        """Whose it is."""
        ...

    async def describe(self, blob: bytes) -> Description:
        """The blob's manifest, unverified."""
        ...

    async def chunk(self, blob: bytes, index: int, size: int) -> bytes | memoryview:
        """One chunk of exactly `size` bytes, unverified."""
        ...


class Puller:
    """Pulls blobs into a store; one pull at a time for each blob, and a bound on the chunks in memory over all."""

    def __init__(self, store: BlobStore, offload: Offload, note: OnFault) -> None:
        self._store = store
        self._offload = offload
        self._note = note
        self._slots = trio.Semaphore(SLOTS)
        self._busy: dict[bytes, trio.Lock] = {}

    async def pull(self, blob: bytes, sources: Sequence[Source], *, max_bytes: int) -> Manifest:
        """As `Network.pull`."""
        lock = self._busy.setdefault(blob, trio.Lock())
        try:
            async with lock:
                return await self._pull(blob, sources, max_bytes)
        finally:
            if not lock.locked():
                self._busy.pop(blob, None)

    async def _pull(self, blob: bytes, sources: Sequence[Source], max_bytes: int) -> Manifest:
        if self._store.has(blob):  # a look at the file system that is too quick for a thread
            here: Manifest = await self._offload(self._store.manifest, blob)
            return _small_enough(here, max_bytes)
        pull = _Pull(self._store, self._offload, self._note, self._slots, blob, max_bytes)
        return await pull.run(sources)


class _Pull:
    """The state of one pull."""

    def __init__(
        self, store: BlobStore, offload: Offload, note: OnFault, slots: trio.Semaphore, blob: bytes, max_bytes: int
    ) -> None:
        self._store = store
        self._offload = offload
        self._note = note
        self._slots = slots
        self._blob = blob
        self._max_bytes = max_bytes
        self._into: tuple[Manifest, Receiver] | None = None  # known once a source has described the blob
        self._todo: deque[int] = deque()
        self._under_way: defaultdict[int, set[Address]] = defaultdict(set)
        self._left = 0
        self._news = trio.Event()
        self._scope = trio.CancelScope()
        self._verdict: Exception | None = None  # that no source can change
        self._faults: list[PeerFault] = []
        self._brought: Counter[Address] = Counter()

    async def run(self, sources: Sequence[Source]) -> Manifest:
        with self._scope:
            async with trio.open_nursery() as nursery:
                for source in sources:
                    nursery.start_soon(self._draw_from, source)
                    if self._into is None:
                        with trio.move_on_after(PATIENCE):
                            await self._news.wait()
        if self._verdict is not None:
            raise self._verdict
        if self._into is None or self._left:
            raise PullFailed(self._blob, self._faults)
        manifest, receiver = self._into
        if self._brought:  # else it came with its manifest
            await self._offload(receiver.finish)
        return manifest

    async def _draw_from(self, source: Source) -> None:
        """Take chunks from one source to the end or its failure; a lost connection gets a second try, and another
        one each time that it had brought something.
        """
        tries = 2
        while True:
            before = self._brought[source.address]
            try:
                into = self._into or await self._describe(source)
                if self._left:
                    await self._take_chunks(source, *into)
                return
            except SourceFailed as failure:
                tries = 1 if self._brought[source.address] > before else tries - 1
                if failure.lost and tries:
                    continue
                fault = PeerFault(source.address, failure.kind, failure.detail)
                self._faults.append(fault)
                self._note(fault)
                self._tell()
                return
            except (BlobUnusable, BlobError, OSError) as error:  # the blob's fault, or our own store's
                self._verdict = error
                self._scope.cancel()
                return

    async def _describe(self, source: Source) -> tuple[Manifest, Receiver]:
        description = await source.describe(self._blob)
        if self._into is None:
            manifest, receiver, missing = await self._offload(self._begin, description)
            if self._into is None:
                self._into, self._todo, self._left = (manifest, receiver), deque(missing), len(missing)
                self._tell()
                if not missing:
                    self._scope.cancel()
        return self._into

    def _begin(self, description: Description) -> tuple[Manifest, Receiver, list[int]]:
        """Check a description and begin receiving; small blobs are whole after it. Runs in a thread."""
        if hashlib.sha256(description.manifest).digest() != self._blob:
            raise SourceFailed(FaultKind.CORRUPT, "the manifest isn't the one asked for")
        try:
            manifest = _small_enough(Manifest.decode(description.manifest), self._max_bytes)
        except BlobInvalid as invalid:
            raise BlobUnusable(self._blob, (), str(invalid)) from None
        receiver = self._store.receive(manifest)
        missing = receiver.missing()
        if description.inline is not None:
            vector = memoryview(description.inline)
            if len(vector) != manifest.size:
                raise SourceFailed(FaultKind.CORRUPT, f"{len(vector)} bytes inline where {manifest.size} are needed")
            for index in missing:
                start = manifest.chunk_offset(index)
                _keep(receiver, index, vector[start : start + manifest.chunk_size(index)])
            missing = []
        if not missing:
            receiver.finish()
        return manifest, receiver, missing

    async def _take_chunks(self, source: Source, manifest: Manifest, receiver: Receiver) -> None:
        failures: list[Exception] = []

        async def lane() -> None:
            """One request in flight, again and again."""
            try:
                while (index := await self._next(source.address)) is not None:
                    await self._fetch(source, manifest, receiver, index)
            except (SourceFailed, BlobError, OSError) as failure:
                failures.append(failure)
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for _ in range(IN_FLIGHT):
                nursery.start_soon(lane)
        if failures:
            raise failures[0]

    async def _fetch(self, source: Source, manifest: Manifest, receiver: Receiver, index: int) -> None:
        kept = False
        try:
            async with self._slots:
                data = await source.chunk(self._blob, index, manifest.chunk_size(index))
                await self._offload(_keep, receiver, index, data)
            kept = True
        finally:
            self._settle(source, index, kept)

    def _settle(self, source: Source, index: int, kept: bool) -> None:
        askers = self._under_way.get(index)
        if askers is None:
            return  # another source was faster
        askers.discard(source.address)
        if kept:
            del self._under_way[index]
            self._left -= 1
            self._brought[source.address] += 1
        elif not askers:
            del self._under_way[index]
            self._todo.appendleft(index)
        self._tell()

    async def _next(self, asker: Address) -> int | None:
        """The next chunk to ask for, None when all are here; where nothing is left, one that another is late with."""
        while self._left:
            if self._todo:
                index = self._todo.popleft()
                break
            with trio.move_on_after(RESCUE) as pause:
                await self._news.wait()
            late = [i for i, askers in self._under_way.items() if len(askers) == 1 and asker not in askers]
            if pause.cancelled_caught and late:
                index = late[0]
                break
        else:
            self._scope.cancel()
            return None
        self._under_way[index].add(asker)
        return index

    def _tell(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()


def _keep(receiver: Receiver, index: int, data: bytes | memoryview) -> None:
    try:
        receiver.write(index, data)
    except BlobInvalid as invalid:
        raise SourceFailed(FaultKind.CORRUPT, str(invalid)) from None


def _small_enough(manifest: Manifest, max_bytes: int) -> Manifest:
    if manifest.size > max_bytes:
        raise BlobUnusable(manifest.blob, (), f"{manifest.size} bytes, at most {max_bytes} are allowed")
    return manifest
