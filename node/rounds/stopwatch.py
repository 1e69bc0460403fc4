"""Where the seconds of a round went, at one site."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic


class Activity(StrEnum):
    """What a site may be busy with.

    TRAINING: the training process computes an update, its start included. TRANSFER: at least one input is on its way
    here, each chunk hashed and written as it comes. MERGE: the leader computes the output. VERIFICATION: inputs are
    held against the clip bound, or a published output is computed again. LEDGER: a transaction of this site's is on
    its way, from signing to having seen its block.
    """

    TRAINING = "training"
    TRANSFER = "transfer"
    MERGE = "merge"
    VERIFICATION = "verification"
    LEDGER = "ledger"


@dataclass(slots=True)
class Stopwatch:
    """Adds up the seconds of each activity, from one lap to the next.

    Several things at once of one activity count once, so that no activity has more seconds than the lap. Different
    activities may overlap (an input arrives while the training process works), so together they may have more. What
    nothing was going on in is `waiting`: for other sites.
    """

    clock: Callable[[], float] = monotonic
    _running: Counter[Activity] = field(default_factory=Counter)
    _spent: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    _since: float = 0.0

    def __post_init__(self) -> None:
        self._since = self.clock()

    @contextmanager
    def on(self, activity: Activity) -> Iterator[None]:
        """Time what is done inside."""
        self._book()
        self._running[activity] += 1
        try:
            yield
        finally:
            self._book()
            self._running[activity] -= 1

    def lap(self) -> dict[str, float]:
        """Give the seconds since the last lap: all of them, those of each activity, and those of waiting."""
        self._book()
        spent, self._spent = self._spent, defaultdict(float)
        return {name: round(spent[name], 4) for name in ("seconds", *Activity, "waiting")}

    def _book(self) -> None:
        now = self.clock()
        elapsed, self._since = now - self._since, now
        self._spent["seconds"] += elapsed
        busy = [activity for activity, count in self._running.items() if count]
        for activity in busy or ("waiting",):
            self._spent[activity] += elapsed
