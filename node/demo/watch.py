"""Watching a study from outside: what the ledger says, as it says it, and how long each phase took."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ledger.errors import RpcUnreachable
from ledger.events import Event, StudyEvent
from ledger.state import LedgerState, StudyState
from ledger.stream import EventStream
from ledger.types import Phase, Status

POLL_SECONDS: Final = 0.02
PHASES: Final = ("collecting", "merging", "reviewing")


@dataclass(slots=True)
class PhaseClock:
    """Seconds that each round spent in each phase, by this process's clock; nothing of rounds it didn't see."""

    seconds: dict[int, dict[str, float]] = field(default_factory=dict)
    _now: tuple[int, Phase] | None = None
    _since: float = 0.0

    def observe(self, study: StudyState, at: float) -> None:
        """Note where the study is; the time since it was there first belongs to that phase."""
        where = (study.round.number, study.phase) if study.rounds and study.phase is not Phase.IDLE else None
        if where == self._now:
            return
        if self._now is not None:
            number, phase = self._now
            spent = self.seconds.setdefault(number, dict.fromkeys(PHASES, 0.0))
            spent[phase.name.lower()] += at - self._since
        self._now, self._since = where, at


@dataclass(slots=True)
class Watcher:
    """The ledger as it stands, one event at a time."""

    stream: EventStream
    study: int
    state: LedgerState = field(default_factory=LedgerState)
    clock: PhaseClock = field(default_factory=PhaseClock)

    @property
    def watched(self) -> StudyState:
        """The study."""
        return self.state.studies[self.study]

    @property
    def ended(self) -> bool:
        """Whether the study has."""
        return self.watched.status in (Status.FINISHED, Status.ABORTED)

    def catch_up(self) -> None:
        """Fold in what happened before, without timing it."""
        self.state = self.state.fold(self.stream.poll())
        self.clock.observe(self.watched, time.monotonic())

    def poll(self, on_event: Callable[[Event], None]) -> None:
        """Fold in what is new, and tell of each event that concerns the study or the consortium."""
        try:
            events = self.stream.poll()
        except RpcUnreachable:
            return  # the chain is being restarted: the next poll goes on where this one stood
        for event in events:
            self.state = self.state.apply(event)
            if isinstance(event, StudyEvent) and event.study == self.study:
                self.clock.observe(self.watched, time.monotonic())
            on_event(event)
