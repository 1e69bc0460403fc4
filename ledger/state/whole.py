"""The whole ledger: the consortium and its studies."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ledger.errors import EventInvalid
from ledger.events import ConsortiumEvent, Event, StudyEvent, StudyProposed
from ledger.state.consortium import ConsortiumState
from ledger.state.study import StudyState
from ledger.types import Position


@dataclass(frozen=True, slots=True)
class LedgerState:
    """Consortium and studies after some events; `at` is where the last one stands."""

    consortium: ConsortiumState = field(default_factory=ConsortiumState)
    studies: Mapping[int, StudyState] = field(default_factory=dict)
    at: Position | None = None

    def apply(self, event: Event) -> "LedgerState":
        """Give the state after one more event; raises EventInvalid where it can't come next."""
        if self.at is not None and event.at <= self.at:
            raise EventInvalid(f"{type(event).__name__} at {event.at} does not come after {self.at}")
        match event:
            case ConsortiumEvent():
                return replace(self._with_consortium(self.consortium.apply(event)), at=event.at)
            case StudyProposed():
                study = StudyState.proposed_by(event, self.consortium.active_seats)
                return replace(self, studies={**self.studies, event.study: study}, at=event.at)
            case StudyEvent():
                if event.study not in self.studies:
                    raise EventInvalid(f"{type(event).__name__} at {event.at}: nobody proposed study {event.study}")
                study = self.studies[event.study].apply(event)
                return replace(self, studies={**self.studies, event.study: study}, at=event.at)
            case _:
                raise EventInvalid(f"{type(event).__name__} is of neither contract")

    def _with_consortium(self, consortium: ConsortiumState) -> "LedgerState":
        active = consortium.active_seats
        if active == self.consortium.active_seats:
            return replace(self, consortium=consortium)
        studies = {number: replace(study, active=active) for number, study in self.studies.items()}
        return replace(self, consortium=consortium, studies=studies)

    def fold(self, events: Iterable[Event]) -> "LedgerState":
        """Give the state after some more events, in order."""
        state = self
        for event in events:
            state = state.apply(event)
        return state


def fold(events: Iterable[Event]) -> LedgerState:
    """Fold events from the first one on, in the order of the chain."""
    return LedgerState().fold(events)
