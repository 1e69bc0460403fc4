"""Rehearsing failures: a site that kills its own process at a chosen point of a round.

Operators and tests use it to see that the others go on. A site that dies here dies as by a power cut: no cleanup runs.
"""

import os
import signal
from dataclasses import dataclass

from node.errors import ConfigurationError
from node.rounds.decide import Action, AttestAndCommit, Commit, Train


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
        return cls(moment, action, int(number))

    def check(self, moment: str, action: Action) -> None:
        """Die here where this is the point."""
        here = moment == self.moment and self.round in _rounds(action, self.action)
        if here and getattr(action, "term", self.term) == self.term:
            os.kill(os.getpid(), signal.SIGKILL)


def _rounds(action: Action, name: str) -> set[int]:
    """The rounds in which an action is one of that name; one that attests and commits at once is both."""
    match action:
        case AttestAndCommit(round=number, basis=basis):
            return {"attest": {number}, "commit": {basis.round}}.get(name, set())
        case Train(basis) | Commit(basis) if type(action).__name__.lower() == name:
            return {basis.round}
        case _ if type(action).__name__.lower() == name:
            return {getattr(action, "round", -1)}
    return set()
