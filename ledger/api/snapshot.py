"""The ledger as one request sees it: folded as far as the index goes, one immutable value."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ledger.deployment import Deployment
from ledger.errors import EventInvalid
from ledger.events import Event, StudyEvent
from ledger.index import Queries
from ledger.index.rows import place
from ledger.state import LedgerState, StudyState
from ledger.types import Block, Position

MAX_PROBLEMS: Final = 20


@dataclass(frozen=True, slots=True)
class Folded:
    """Events added up. `versions` says when each study changed last, `problems` which events could not come there."""

    state: LedgerState = field(default_factory=LedgerState)
    events: int = 0
    last: tuple[int, int] | None = None
    versions: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def fold(self, events: Sequence[Event]) -> "Folded":
        """Add events, in order. One that can't come where it stands changes nothing, and is told."""
        if not events:
            return self
        state, versions, problems = self.state, dict(self.versions), list(self.problems)
        for event in events:
            try:
                state = state.apply(event)
            except (EventInvalid, LookupError, ValueError) as error:
                problems.append(str(error))
            if isinstance(event, StudyEvent):
                versions[event.study] = place(event)
        count = self.events + len(events)
        return Folded(state, count, place(events[-1]), versions, tuple(problems[:MAX_PROBLEMS]))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The ledger up to the newest block that was read; blocks from `provisional_from` on may yet be replaced.

    `trouble` says why the chain can't be followed at present, `warning` what is to be known of it; both may be empty.
    """

    deployment: Deployment
    folded: Folded = field(default_factory=Folded)
    newest: Block | None = None
    provisional_from: int = 0
    trouble: str = ""
    warning: str = ""

    @property
    def state(self) -> LedgerState:
        """Consortium and studies."""
        return self.folded.state

    @property
    def studies(self) -> Mapping[int, StudyState]:
        """The studies by number."""
        return self.folded.state.studies

    @property
    def tag(self) -> str:
        """What changes whenever an answer may: of the newest block, what was read up to it, and the trouble."""
        block = self.newest.hash.hex() if self.newest is not None else ""
        parts = (block, self.provisional_from, self.folded.last, self.trouble)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]

    def version(self, study: int) -> str:
        """Where a study's last event stands."""
        found = self.folded.versions.get(study)
        return f"{found[0]}.{found[1]}" if found is not None else "0"

    def is_provisional(self, at: Position) -> bool:
        """Whether what happened there may yet be undone."""
        return at.block >= self.provisional_from


class View:
    """Keeps the newest snapshot of an index; one thread refreshes it, all others read it.

    What can't be replaced any more is folded once; the newest few blocks are folded again each time.
    """

    def __init__(self, deployment: Deployment, queries: Queries, *, warning: str = "") -> None:
        self._queries = queries
        self._settled = Folded()
        self._snapshot = Snapshot(deployment, warning=warning)

    @property
    def snapshot(self) -> Snapshot:
        """The ledger as it was read last."""
        return self._snapshot

    def refresh(self) -> Snapshot:
        """Read what the index has got since, with no other thread writing to it."""
        reach = self._queries.reach()
        events = self._queries.all_events(after=self._settled.last)
        young = next((at for at, event in enumerate(events) if event.at.block >= reach.provisional_from), len(events))
        self._settled = self._settled.fold(events[:young])
        folded = self._settled.fold(events[young:])
        self._snapshot = replace(
            self._snapshot, folded=folded, newest=reach.newest, provisional_from=reach.provisional_from, trouble=""
        )
        return self._snapshot

    def is_in_trouble(self, why: str) -> Snapshot:
        """Say on every answer from now on why the chain can't be followed."""
        self._snapshot = replace(self._snapshot, trouble=why)
        return self._snapshot
