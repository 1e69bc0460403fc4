"""What a rule says: that it holds, is broken, or can't be decided, with the evidence."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from ledger.types import Address

if TYPE_CHECKING:
    from ledger.audit.record import Record

MAX_FINDINGS: Final = 50
"""Findings that a verdict tells; it counts all of them."""


class Outcome(StrEnum):
    """What became of a rule."""

    HOLDS = "holds"
    BROKEN = "broken"
    UNDECIDABLE = "not decidable"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a rule found, and where: round, site and block, as far as there are any."""

    what: str
    round: int | None = None
    site: Address | None = None
    block: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A rule's outcome: `why` in a sentence, what is broken, what is open, and figures as plain JSON values."""

    rule: str
    outcome: Outcome
    why: str
    broken: tuple[Finding, ...] = ()
    open: tuple[Finding, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Tally:
    """Collects what a rule finds, while it looks."""

    checked: int = 0
    broken: list[Finding] = field(default_factory=list)
    open: list[Finding] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    said: str = ""

    def check(self, holds: bool, what: str, **where: Any) -> bool:
        """Count one thing that was looked at, and note it where it doesn't hold; gives whether it does."""
        self.checked += 1
        if not holds:
            self.broken.append(Finding(what, **where))
        return holds

    def leave_open(self, what: str, **where: Any) -> None:
        """Note what can't be decided."""
        self.open.append(Finding(what, **where))

    def verdict(self, rule: str, nothing: str = "") -> Verdict:
        """Put the verdict together; `nothing` says why there was nothing to look at, where that leaves it open."""
        if self.broken:
            outcome, why = Outcome.BROKEN, f"{len(self.broken)} of {self.checked} checks failed: {self.broken[0].what}"
        elif self.open:
            held = f"{self.checked} checks hold; " if self.checked else ""
            outcome, why = Outcome.UNDECIDABLE, f"{held}{self.open[0].what}"
        elif not self.checked and nothing:
            outcome, why = Outcome.UNDECIDABLE, nothing
        else:
            outcome, why = Outcome.HOLDS, self.said or f"{self.checked} checks hold"
        found = tuple(self.broken[:MAX_FINDINGS]), tuple(self.open[:MAX_FINDINGS])
        return Verdict(rule, outcome, why, *found, self.figures)


@dataclass(frozen=True, slots=True)
class Rule:
    """A question to the record: its name, what it checks, why that matters, and the function that answers it.

    `judge` gives None where the question doesn't arise. `nothing` says why there may be nothing to look at.
    """

    name: str
    checks: str
    why: str
    judge: "Callable[[Record], Tally | None]"
    nothing: str = ""

    def apply(self, record: "Record") -> Verdict | None:
        """Answer the question."""
        tally = self.judge(record)
        return tally.verdict(self.name, self.nothing) if tally is not None else None
