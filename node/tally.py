"""What a running site counts for its operator since it was started, and what is wrong with it right now."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from node.network.port import PeerFault


@dataclass(slots=True)
class RoundSums:
    """The rounds of one study that ended while this site ran: how many, and their seconds by activity."""

    count: int = 0
    seconds: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Tally:
    """Written by the round loop, read by metrics and health; all of it in one thread.

    `failing` has the code of each study's action that failed last time and has not worked since, `halted` the code of
    each study that this site can't take part in for now.
    """

    rounds: defaultdict[int, RoundSums] = field(default_factory=lambda: defaultdict(RoundSums))
    peer_faults: Counter[str] = field(default_factory=Counter)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    failing: dict[tuple[int, str], str] = field(default_factory=dict)
    halted: dict[int, str] = field(default_factory=dict)

    def round_ended(self, study: int, lap: Mapping[str, float]) -> None:
        """Book a stopwatch's lap."""
        sums = self.rounds[study]
        sums.count += 1
        sums.seconds.update(lap)  # a Counter adds, also fractions

    def peer_fault(self, fault: PeerFault) -> None:
        """Count what a peer did, or failed to do."""
        self.peer_faults[fault.kind.value] += 1

    def refused(self, code: str) -> None:
        """Count what the ledger refused: mostly that another site was quicker."""
        self.refusals[code] += 1

    def failed(self, study: int, action: str, code: str) -> None:
        """Count an action that failed, and remember that it did."""
        self.failures[action, code] += 1
        self.failing[study, action] = code

    def succeeded(self, study: int, action: str) -> None:
        """Forget that an action had failed."""
        self.failing.pop((study, action), None)

    def halt(self, study: int, code: str) -> None:
        """Remember that a study can't be taken part in, until `under_way`."""
        self.halted[study] = code

    def under_way(self, study: int) -> None:
        """Forget what kept this site from a study."""
        self.halted.pop(study, None)
