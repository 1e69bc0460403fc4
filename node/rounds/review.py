"""A leader's merge, and everybody's review of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import trio

from ledger.types import Commitment
from node.network.port import Address
from node.rounds.inputs import Inputs
from swarm.blobs import BlobStore
from swarm.merge import Exclusion, MergeRule, Objection, merge_updates
from swarm.moments import merge_moments

REFETCH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One site's part in a round."""

    round: int
    site: Address
    seat: int
    commitment: Commitment


@dataclass(frozen=True, slots=True)
class Gathered:
    """A round's inputs as the leader found them."""

    merged: tuple[Entry, ...]
    excluded: Mapping[int, Exclusion]

    @property
    def seats(self) -> int:
        """Bitmap of the merged seats."""
        return sum(1 << entry.seat for entry in self.merged)

    @property
    def reasons(self) -> bytes:
        """One byte per excluded seat, by ascending seat."""
        return bytes(self.excluded[seat] for seat in sorted(self.excluded))


@dataclass(frozen=True, slots=True)
class Published:
    """What a leader published."""

    leader: Address
    output: bytes
    merged: int
    reasons: bytes


class Reviewer:
    """Merges and verifies the rounds of one study, from blobs alone."""

    def __init__(self, inputs: Inputs, store: BlobStore, rule: MergeRule) -> None:
        self._inputs = inputs
        self._store = store
        self._rule = rule

    async def gather(self, number: int, entries: tuple[Entry, ...], give_up: float) -> Gathered:
        """Fetch and check every committed input, from its owner or from any other committer that has it.

        `give_up` is how many seconds an input may stay unreachable before it's left out.
        """
        findings: dict[int, Exclusion | None] = {}

        async def fetch(entry: Entry) -> None:
            sources = _sources(entry, entries)
            findings[entry.seat] = await self._inputs.insist(entry.commitment.blob, number, sources, give_up)

        async with trio.open_nursery() as nursery:
            for entry in entries:
                nursery.start_soon(fetch, entry)
        excluded = {seat: finding for seat, finding in findings.items() if finding is not None}
        return Gathered(tuple(entry for entry in entries if entry.seat not in excluded), excluded)

    async def merge(self, number: int, base: bytes | None, merged: tuple[Entry, ...]) -> bytes:
        """Merge inputs that are here and were found fit; give the output's hash. The output lands in the store."""
        if number == 0 or base is None:
            blobs = [entry.commitment.blob for entry in merged]
            manifest = await trio.to_thread.run_sync(partial(merge_moments, self._store, blobs))
        else:
            weighted = [(entry.commitment.blob, entry.commitment.weight) for entry in merged]
            manifest = await trio.to_thread.run_sync(partial(merge_updates, self._store, base, weighted, self._rule))
        return manifest.blob

    async def review(
        self, number: int, base: bytes | None, entries: tuple[Entry, ...], published: Published, give_up: float
    ) -> bool | Objection:
        """Recompute a published output: True where it holds, else the objection.

        An input that the leader left out, for whatever reason, but that this site holds or can get, and finds fit, is
        an objection: silent omission needs a quorum of liars.
        """
        merged = tuple(entry for entry in entries if published.merged >> entry.seat & 1)
        left_out = [entry for entry in entries if not published.merged >> entry.seat & 1]
        for entry in left_out:
            sources = _sources(entry, entries, published.leader)
            if await self._inputs.insist(entry.commitment.blob, number, sources, REFETCH_SECONDS) is None:
                return Objection.OMITTED_INPUT
        findings: list[Exclusion | None] = []

        async def fetch(entry: Entry) -> None:
            sources = _sources(entry, entries, published.leader)
            findings.append(await self._inputs.insist(entry.commitment.blob, number, sources, give_up))

        async with trio.open_nursery() as nursery:
            for entry in merged:
                nursery.start_soon(fetch, entry)
        if any(finding not in (None, Exclusion.UNREACHABLE) for finding in findings):
            return Objection.INVALID_INPUT_MERGED
        if any(finding is Exclusion.UNREACHABLE for finding in findings):
            return Objection.UNVERIFIABLE
        output = await self.merge(number, base, merged)
        return True if output == published.output else Objection.WRONG_OUTPUT


def _sources(entry: Entry, entries: tuple[Entry, ...], *first: Address) -> list[Address]:
    """Who may have an entry's blob: its owner before all others."""
    return list(dict.fromkeys([entry.site, *first, *(other.site for other in entries)]))
