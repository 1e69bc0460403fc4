"""The committed updates of a study: fetched by hash, checked once, and what was found remembered."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import trio

from node.network.errors import BlobUnusable, PullFailed
from node.network.port import Address, Network
from swarm.blobs import BlobStore
from swarm.errors import BlobError
from swarm.manifest import layout_elements
from swarm.merge import Exclusion, MergeRule, check_input
from swarm.moments import check_moments, moments_layout

RETRY_SECONDS = 0.25
MAX_RETRY_SECONDS = 5.0


class Inputs:
    """Blobs that sites committed, as this site found them."""

    def __init__(self, network: Network, store: BlobStore, rule: MergeRule, columns: int) -> None:
        self._network = network
        self._store = store
        self._rule = rule
        self._columns = columns
        self._findings: dict[bytes, Exclusion | None] = {}
        self._pulling: dict[bytes, trio.Lock] = {}

    @property
    def output_bytes(self) -> int:
        """Bytes that an output may have: a model's, or the moments'."""
        return max(layout_elements(self._rule.layout) * np.dtype(np.float32).itemsize, self._size(0))

    def holds(self, blob: bytes) -> bool:
        """Whether the blob is on this site's disk."""
        return self._store.has(blob)

    async def check(self, blob: bytes, round_number: int) -> Exclusion | None:
        """Check a blob that is here; None where it is fit to be merged."""
        if blob not in self._findings:
            if round_number == 0:
                check = partial(check_moments, self._store, blob, self._columns)
            else:
                check = partial(check_input, self._store, blob, self._rule)
            try:
                found = await trio.to_thread.run_sync(check)
            except BlobError:
                found = Exclusion.MALFORMED
            self._findings[blob] = found
        return self._findings[blob]

    async def fetch(self, blob: bytes, round_number: int, sources: Sequence[Address]) -> Exclusion | None:
        """Fetch a blob unless it is here, and check it; UNREACHABLE where no source gave it."""
        async with self._pulling.setdefault(blob, trio.Lock()):
            if not self._store.has(blob):
                try:
                    await self._network.pull(blob, sources, max_bytes=self._size(round_number))
                except BlobUnusable:
                    return Exclusion.MALFORMED
                except PullFailed:
                    return Exclusion.UNREACHABLE
        return await self.check(blob, round_number)

    def _size(self, round_number: int) -> int:
        """Bytes that an input of this round may have."""
        if round_number == 0:
            return layout_elements(moments_layout(self._columns)) * np.dtype(np.int64).itemsize
        return layout_elements(self._rule.layout) * np.dtype(self._rule.dtype).itemsize

    async def insist(
        self, blob: bytes, round_number: int, sources: Sequence[Address], give_up: float
    ) -> Exclusion | None:
        """Fetch with retries for as long as `give_up` seconds."""
        finding: Exclusion | None = Exclusion.UNREACHABLE
        pause = RETRY_SECONDS
        with trio.move_on_after(give_up):
            while (finding := await self.fetch(blob, round_number, sources)) is Exclusion.UNREACHABLE:
                await trio.sleep(pause)
                pause = min(2 * pause, MAX_RETRY_SECONDS)
        return finding

    def forget(self, blob: bytes) -> None:
        """Delete an update whose retention is over."""
        self._store.delete(blob)
        self._findings.pop(blob, None)
        self._pulling.pop(blob, None)
