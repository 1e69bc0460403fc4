"""Rehearsing failures: a site that kills its own process at a chosen point of a round.

Operators and tests use it to see that the others go on. A site that dies here dies as by a power cut: no cleanup runs.
"""

import os
import signal
from dataclasses import dataclass

from node.errors import ConfigurationError
from node.rounds.decide import Action


@dataclass(frozen=True, slots=True)
class DieAt:
    """Die `before` or `after` the action of that name in that round and term."""

    moment: str
    action: str
    round: int
    term: int = 0

    @classmethod
    def parse(cls, text: str) -> "DieAt":
        """Parse `before-publish@3` or `after-commit@2`; raises ConfigurationError."""
        point, _, number = text.partition("@")
        moment, _, action = point.partition("-")
        if moment not in ("before", "after") or not action or not number.isdecimal():
            raise ConfigurationError(f"--die-at {text!r}: expected before-ACTION@ROUND or after-ACTION@ROUND")
        return cls(moment, action.replace("-", ""), int(number))

    def check(self, moment: str, action: Action) -> None:
        """Die here where this is the point."""
        if moment != self.moment or type(action).__name__.lower() != self.action:
            return
        basis = getattr(action, "basis", None)
        number = basis.round if basis is not None else getattr(action, "round", None)
        if number == self.round and getattr(action, "term", 0) == self.term:
            os.kill(os.getpid(), signal.SIGKILL)
