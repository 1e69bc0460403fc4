"""The whole ledger: the consortium and its studies."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ledger.events import ConsortiumEvent, Event, StudyEvent, StudyProposed
from ledger.state.consortium import ConsortiumState
from ledger.state.study import StudyState


@dataclass(frozen=True, slots=True)
class LedgerState:
    """Consortium and studies after some events."""

    consortium: ConsortiumState = field(default_factory=ConsortiumState)
    studies: Mapping[int, StudyState] = field(default_factory=dict)

    def apply(self, event: Event) -> "LedgerState":
        """Give the state after one more event."""
        match event:
            case ConsortiumEvent():
                return replace(self, consortium=self.consortium.apply(event))
            case StudyProposed():
                return replace(self, studies={**self.studies, event.study: StudyState.proposed_by(event)})
            case StudyEvent():
                study = self.studies[event.study].apply(event)
                return replace(self, studies={**self.studies, event.study: study})
            case _:
                return self

    def fold(self, events: Iterable[Event]) -> "LedgerState":
        """Give the state after some more events, in order."""
        state = self
        for event in events:
            state = state.apply(event)
        return state
