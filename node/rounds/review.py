"""A leader's merge, and everybody's review of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import trio

from ledger.types import Commitment
from node.errors import StorageError
from node.network.port import Address
from node.rounds.inputs import Inputs
from node.rounds.stopwatch import Activity, Stopwatch
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


@dataclass(frozen=True, slots=True)
class Search:
    """Whom to ask for an input, for how many seconds, and whether again and again."""

    sources: list[Address]
    give_up: float
    retry: bool = True


class Reviewer:
    """Merges and verifies the rounds of one study, from blobs alone."""

    def __init__(self, inputs: Inputs, store: BlobStore, rule: MergeRule, stopwatch: Stopwatch) -> None:
        self._inputs = inputs
        self._store = store
        self._rule = rule
        self._stopwatch = stopwatch

    async def gather(self, number: int, entries: tuple[Entry, ...], give_up: float) -> Gathered:
        """Fetch and check every committed input, from its owner or from any other committer that has it.

        `give_up` is how many seconds an input may stay unreachable before it's left out. Raises StorageError.
        """
        findings = await self._search(number, {entry: Search(_sources(entry, entries), give_up) for entry in entries})
        excluded = {entry.seat: finding for entry, finding in findings.items() if finding is not None}
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

        An input that the leader left out but that this site holds or can get, and finds fit, is an objection: silent
        omission needs a quorum of liars. Raises StorageError, and MergeError or BlobError where this site can't merge.
        """
        merged = tuple(entry for entry in entries if published.merged >> entry.seat & 1)
        left_out = [entry for entry in entries if not published.merged >> entry.seat & 1]
        reasons = dict(zip(left_out, published.reasons, strict=True))
        searches = {entry: Search(_sources(entry, entries, published.leader), give_up) for entry in merged}
        for entry, reason in reasons.items():
            searches[entry] = _second_look(entry, reason, entries, published.leader, give_up)

        async def recompute() -> bool | Objection:
            objection = _object(merged, reasons, await self._search(number, searches))
            if objection is not None:
                return objection
            with self._stopwatch.on(Activity.VERIFICATION):
                output = await self.merge(number, base, merged)
            return True if output == published.output else Objection.WRONG_OUTPUT

        verdict = await recompute()
        if verdict is Objection.WRONG_OUTPUT:
            # Before this site says so for everybody to read, it makes sure that its own disk isn't what is wrong.
            mine = [entry.commitment.blob for entry in merged] + ([base] if base is not None else [])
            if await self._inputs.drop_damaged(mine):
                verdict = await recompute()
        return verdict

    async def _search(self, number: int, searches: Mapping[Entry, Search]) -> dict[Entry, Exclusion | None]:
        """Fetch and check many inputs at once."""
        findings: dict[Entry, Exclusion | None] = {}
        failures: list[StorageError] = []

        async def find(entry: Entry, search: Search) -> None:
            try:
                findings[entry] = await self._inputs.insist(
                    entry.commitment.blob, number, search.sources, search.give_up, retry=search.retry
                )
            except StorageError as error:
                failures.append(error)
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for entry, search in searches.items():
                nursery.start_soon(find, entry, search)
        if failures:
            raise failures[0]
        return findings


def _second_look(entry: Entry, reason: int, entries: tuple[Entry, ...], leader: Address, give_up: float) -> Search:
    """Where, and for how long, to look for an input that the leader left out."""
    if reason == Exclusion.UNREACHABLE:
        # Not at its owner's: who serves an input only after the leader has given it up must not void that leader.
        others = [source for source in _sources(entry, entries, leader) if source not in (entry.site, leader)]
        return Search(others, REFETCH_SECONDS, retry=False)
    # A malformed blob can't be kept, so only its owner could show it; any other fault the leader can show.
    patience = REFETCH_SECONDS if reason == Exclusion.MALFORMED else give_up
    return Search(_sources(entry, entries, leader), patience)


def _object(
    merged: tuple[Entry, ...], reasons: Mapping[Entry, int], findings: Mapping[Entry, Exclusion | None]
) -> Objection | None:
    """Say what is wrong with the choice of inputs, given what this site found; None where nothing is."""
    for entry, reason in reasons.items():
        if findings[entry] is None or reason not in set(Exclusion):
            return Objection.OMITTED_INPUT
        if findings[entry] is Exclusion.UNREACHABLE and reason not in (Exclusion.UNREACHABLE, Exclusion.MALFORMED):
            return Objection.UNVERIFIABLE
    found = {findings[entry] for entry in merged}
    if found - {None, Exclusion.UNREACHABLE}:
        return Objection.INVALID_INPUT_MERGED
    return Objection.UNVERIFIABLE if Exclusion.UNREACHABLE in found else None


def _sources(entry: Entry, entries: tuple[Entry, ...], *first: Address) -> list[Address]:
    """Who may have an entry's blob: its owner before all others."""
    return list(dict.fromkeys([entry.site, *first, *(other.site for other in entries)]))
