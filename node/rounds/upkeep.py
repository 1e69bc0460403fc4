"""Beside the round loop: updates fetched as soon as they are committed, and deleted when their retention is over."""

from collections.abc import Callable, Iterator

import trio

from ledger.state import StudyState
from node.errors import StorageError
from node.log import Logger
from node.rounds.inputs import MAX_RETRY_SECONDS, RETRY_SECONDS, Inputs
from node.rounds.review import Entry
from node.rounds.site_parts import SiteParts
from node.rounds.situation import entries, upcoming
from node.study_folder import StudyFolder
from swarm.merge import Exclusion
from swarm.spec import StudySpec


class Upkeep:
    """Keeps the inputs of one study at hand for as long as they are needed."""

    def __init__(
        self,
        site: SiteParts,
        spec: StudySpec,
        folder: StudyFolder,
        inputs: Inputs,
        state: Callable[[], StudyState],
        log: Logger,
    ) -> None:
        self._site = site
        self._spec = spec
        self._folder = folder
        self._inputs = inputs
        self._state = state
        self._log = log
        self._retained_from = 0 if spec.data.standardise else 1

    async def run(self) -> None:
        """Fetch each update as soon as it's committed, so that a merge starts with everything at hand."""
        asked: set[bytes] = set()
        async with trio.open_nursery() as nursery:
            while True:
                committed = self._committed()
                asked &= {entry.commitment.blob for entry in committed}
                for entry in committed:
                    blob = entry.commitment.blob
                    if blob not in asked and entry.site != self._site.address:
                        asked.add(blob)
                        nursery.start_soon(self._fetch_early, entry)
                self._forget_old_updates()
                await self._site.chain.changed()

    async def _fetch_early(self, entry: Entry) -> None:
        """Ask the owner until it gives its update or the round is over: it may learn of its own commit after we do."""
        pause = RETRY_SECONDS
        try:
            while await self._inputs.fetch(entry.commitment.blob, entry.round, [entry.site]) is Exclusion.UNREACHABLE:
                await trio.sleep(pause)
                pause = min(2 * pause, MAX_RETRY_SECONDS)
                if entry not in self._committed():
                    return
        except StorageError as error:  # whoever needs the blob asks again, and says so
            self._log.warning("prefetch_failed", round=entry.round, seat=entry.seat, reason=str(error))

    def _committed(self) -> tuple[Entry, ...]:
        return *entries(self._state()), *upcoming(self._state())

    def _forget_old_updates(self) -> None:
        """Delete the updates of rounds whose retention is over, and of none; models and moments stay."""
        state = self._state()
        over = state.round.number - self._spec.round.retention_rounds
        if self._retained_from >= over:
            return
        # The same bytes may be committed again, or be the output of a round, here or in another study: a site that
        # commits the hash of a model must not have everybody delete it.
        needed = self._site.claims.needed() | self._folder.updates_since(over)
        for number in range(self._retained_from, over):
            for commit in state.round_numbered(number).all_commits():
                if commit.commitment.blob not in needed:
                    self._forget(commit.commitment.blob, number)
        for blob in {*self._folder.forget_before(over), *_voided_before(state, over)} - needed:
            self._forget(blob, over)
        self._retained_from = over

    def _forget(self, blob: bytes, number: int) -> None:
        try:
            self._inputs.forget(blob)
        except OSError as error:
            self._log.error("update_not_deleted", round=number, blob=blob.hex(), reason=str(error))


def _voided_before(state: StudyState, number: int) -> Iterator[bytes]:
    """Updates that were committed before that round on an output which did not become final: no round has them."""
    opened = state.round_numbered(number).opened
    return (commit.commitment.blob for commit in state.voided if commit.at < opened)
