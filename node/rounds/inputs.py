"""The committed updates of a study: fetched by hash, checked once, and what was found remembered."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import trio

from node.errors import StorageError
from node.network.errors import BlobUnusable, PullFailed
from node.network.port import Address, Network
from node.rounds.stopwatch import Activity, Stopwatch
from swarm.blobs import BlobStore, damaged_chunks
from swarm.errors import BlobError, BlobInvalid, BlobMissing
from swarm.manifest import layout_elements
from swarm.merge import Exclusion, MergeRule, check_input
from swarm.moments import check_moments, moments_layout

RETRY_SECONDS = 0.25
MAX_RETRY_SECONDS = 5.0


class Inputs:
    """Blobs that sites committed, as this site found them.

    Whatever goes wrong with this site's own disk is a StorageError, and never a finding about another site.
    """

    def __init__(self, network: Network, store: BlobStore, rule: MergeRule, columns: int, stopwatch: Stopwatch) -> None:
        self._network = network
        self._store = store
        self._rule = rule
        self._columns = columns
        self._stopwatch = stopwatch
        # A blob may be committed in the statistics round and again in a later one, where it is no update.
        self._findings: dict[tuple[bytes, bool], Exclusion | None] = {}
        self._busy: dict[bytes, trio.Lock] = {}
        self._early: dict[bytes, trio.CancelScope] = {}
        self._insisted = Counter[bytes]()

    @property
    def output_bytes(self) -> int:
        """Bytes that an output may have: a model's, or the moments'."""
        return max(layout_elements(self._rule.layout) * np.dtype(np.float32).itemsize, self._size(0))

    def holds(self, blob: bytes) -> bool:
        """Whether the blob is on this site's disk."""
        return self._store.has(blob)

    async def fetch(self, blob: bytes, round_number: int, sources: Sequence[Address]) -> Exclusion | None:
        """Fetch a blob unless it is here, and check it; UNREACHABLE where no source gave it. Raises StorageError."""
        lock = self._busy.setdefault(blob, trio.Lock())
        try:
            async with lock:
                return await self._fetch(blob, round_number, sources)
        except (BlobError, OSError) as error:
            raise StorageError(f"blob {blob.hex()} can't be kept or read on this site's own disk: {error}") from error
        finally:
            if not lock.locked():
                self._busy.pop(blob, None)

    async def insist(
        self, blob: bytes, round_number: int, sources: Sequence[Address], give_up: float, *, retry: bool = True
    ) -> Exclusion | None:
        """Fetch, with retries, for as long as `give_up` seconds; what is here is checked however long that takes."""
        if self.holds(blob):
            finding = await self.fetch(blob, round_number, sources)
            if finding is not Exclusion.UNREACHABLE:
                return finding
        pause = RETRY_SECONDS
        with trio.move_on_after(give_up), self._instead_of_early(blob):
            while (finding := await self.fetch(blob, round_number, sources)) is Exclusion.UNREACHABLE and retry:
                await trio.sleep(pause)
                pause = min(2 * pause, MAX_RETRY_SECONDS)
            return finding
        return Exclusion.UNREACHABLE

    async def fetch_early(self, blob: bytes, round_number: int, owner: Address) -> Exclusion | None:
        """Fetch from the owner alone, until somebody insists on the blob: an owner that is silent must not hold it up.

        What had come by then is kept.
        """
        if blob in self._insisted:
            return Exclusion.UNREACHABLE
        with trio.CancelScope() as scope:
            self._early[blob] = scope
            try:
                return await self.fetch(blob, round_number, [owner])
            finally:
                if self._early.get(blob) is scope:
                    del self._early[blob]
        return Exclusion.UNREACHABLE

    @contextmanager
    def _instead_of_early(self, blob: bytes) -> Iterator[None]:
        self._insisted[blob] += 1
        if blob in self._early:
            self._early.pop(blob).cancel()
        try:
            yield
        finally:
            self._insisted[blob] -= 1
            if not self._insisted[blob]:
                del self._insisted[blob]

    async def drop_damaged(self, blobs: Iterable[bytes]) -> bool:
        """Hash again what is here of these blobs and delete what the disk has damaged; say whether anything was."""
        dropped = False
        for blob in blobs:
            if self.holds(blob) and await trio.to_thread.run_sync(_is_damaged, self._store, blob):
                self.forget(blob)
                dropped = True
        return dropped

    def forget(self, blob: bytes) -> None:
        """Delete a blob, and what was found about it."""
        self._store.delete(blob)
        for statistics in (True, False):
            self._findings.pop((blob, statistics), None)

    async def _fetch(self, blob: bytes, round_number: int, sources: Sequence[Address]) -> Exclusion | None:
        if self.holds(blob):
            try:
                return await self._check(blob, round_number)
            except BlobInvalid:  # it was whole when it came: the disk has damaged it since
                self.forget(blob)
        try:
            with self._stopwatch.on(Activity.TRANSFER):
                await self._network.pull(blob, sources, max_bytes=self._size(round_number))
        except BlobUnusable:
            return Exclusion.MALFORMED
        except PullFailed:
            return Exclusion.UNREACHABLE
        return await self._check(blob, round_number)

    async def _check(self, blob: bytes, round_number: int) -> Exclusion | None:
        """Say why a blob that is here isn't fit to be merged in this round; None where it is."""
        known = blob, round_number == 0
        if known not in self._findings:
            if self._store.manifest(blob).size > self._size(round_number):
                return Exclusion.MALFORMED  # as it is to everybody who would have to fetch it
            if round_number == 0:
                check = partial(check_moments, self._store, blob, self._columns)
            else:
                check = partial(check_input, self._store, blob, self._rule)
            with self._stopwatch.on(Activity.VERIFICATION):
                self._findings[known] = await trio.to_thread.run_sync(check)
        return self._findings[known]

    def _size(self, round_number: int) -> int:
        """Bytes that an input of this round may have."""
        if round_number == 0:
            return layout_elements(moments_layout(self._columns)) * np.dtype(np.int64).itemsize
        return layout_elements(self._rule.layout) * np.dtype(self._rule.dtype).itemsize


def _is_damaged(store: BlobStore, blob: bytes) -> bool:
    try:
        return bool(damaged_chunks(store, blob))
    except BlobMissing:
        return False
    except BlobInvalid:  # the manifest itself
        return True
