"""The committed updates of a study: fetched by hash, checked once, and what was found remembered."""

from collections.abc import Sequence
from functools import partial

import trio

from node.network.errors import BlobUnusable, PullFailed
from node.network.port import Address, Network
from swarm.blobs import BlobStore
from swarm.errors import BlobError
from swarm.merge import Exclusion, MergeRule, check_input, check_moments

RETRY_SECONDS = 0.25
MAX_RETRY_SECONDS = 5.0


class Inputs:
    """Blobs that sites committed, as this site found them."""

    def __init__(self, network: Network, store: BlobStore, rule: MergeRule) -> None:
        self._network = network
        self._store = store
        self._rule = rule
        self._findings: dict[bytes, Exclusion | None] = {}
        self._pulling: dict[bytes, trio.Lock] = {}

    def holds(self, blob: bytes) -> bool:
        """Whether the blob is on this site's disk."""
        return self._store.has(blob)

    async def check(self, blob: bytes, round_number: int) -> Exclusion | None:
        """Check a blob that is here; None where it is fit to be merged."""
        if blob not in self._findings:
            check = check_moments if round_number == 0 else check_input
            try:
                found = await trio.to_thread.run_sync(partial(check, self._store, blob, self._rule))
            except BlobError:
                found = Exclusion.MALFORMED
            self._findings[blob] = found
        return self._findings[blob]

    async def fetch(self, blob: bytes, round_number: int, sources: Sequence[Address]) -> Exclusion | None:
        """Fetch a blob unless it is here, and check it; UNREACHABLE where no source gave it."""
        async with self._pulling.setdefault(blob, trio.Lock()):
            if not self._store.has(blob):
                size = self._rule.moments_bytes if round_number == 0 else self._rule.update_bytes
                try:
                    await self._network.pull(blob, sources, max_bytes=size)
                except BlobUnusable:
                    return Exclusion.MALFORMED
                except PullFailed:
                    return Exclusion.UNREACHABLE
        return await self.check(blob, round_number)

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
