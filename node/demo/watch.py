"""Watching a study from outside: what the ledger says, live, and when it said it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger.state import ConsortiumState, StudyState
from ledger.stream import EventStream
from ledger.types import Phase


@dataclass(slots=True)
class PhaseClock:
    """Seconds that each round spent in each phase, by this process's clock."""

    seconds: dict[int, dict[str, float]] = field(default_factory=dict)
    _phase: tuple[int, Phase] | None = None
    _since: float = 0.0

    def observe(self, number: int, phase: Phase, now: float) -> None:
        """Note the present phase; the time since the last note belongs to the phase before."""
        if self._phase is not None:
            before, was = self._phase
            spent = self.seconds.setdefault(before, {"collecting": 0.0, "merging": 0.0, "reviewing": 0.0})
            if was.name.lower() in spent:
                spent[was.name.lower()] += now - self._since
        self._phase, self._since = (number, phase), now
