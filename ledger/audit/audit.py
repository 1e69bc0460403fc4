"""The whole audit of a bundle: its proof, the rules over what it proves, and one conclusion."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ledger.audit.bundle.content import Bundle
from ledger.audit.proof.chain import ANCHOR, COMPLETE, CONTRACTS, HEADERS, PROOF_RULES, RECEIPTS, TRANSACTIONS, prove
from ledger.audit.record import Record
from ledger.audit.rules import RULES, judge
from ledger.audit.verdict import Outcome, Verdict

ESSENTIAL: Final = frozenset(rule.name for rule in (ANCHOR, HEADERS, COMPLETE, RECEIPTS, TRANSACTIONS, CONTRACTS))
"""Rules that must hold before anything else says something about the real chain."""


class Conclusion(StrEnum):
    """What an audit comes to."""

    HOLDS = "holds"
    BROKEN = "broken"
    UNPROVEN = "unproven"


@dataclass(frozen=True, slots=True)
class Question:
    """A rule's name, what it checks, and why."""

    name: str
    checks: str
    why: str


def questions() -> Mapping[str, Question]:
    """Give every rule by name, in the order of a report."""
    proof = [Question(rule.name, rule.checks, rule.why) for rule in PROOF_RULES]
    return {one.name: one for one in (*proof, *(Question(rule.name, rule.checks, rule.why) for rule in RULES))}


@dataclass(frozen=True)
class Audit:
    """What came of an audit. `record` is what the bundle proves, `verdicts` what the rules say of it."""

    record: Record
    verdicts: tuple[Verdict, ...]

    def named(self, rule: str) -> Verdict:
        """The verdict of one rule; raises KeyError where its question didn't arise."""
        for verdict in self.verdicts:
            if verdict.rule == rule:
                return verdict
        raise KeyError(rule)

    def with_outcome(self, outcome: Outcome) -> tuple[str, ...]:
        """Name the rules that came to an outcome."""
        return tuple(verdict.rule for verdict in self.verdicts if verdict.outcome is outcome)

    @property
    def broken(self) -> tuple[str, ...]:
        """The rules that are broken."""
        return self.with_outcome(Outcome.BROKEN)

    @property
    def conclusion(self) -> Conclusion:
        """Broken where any rule is; unproven where the proof itself is open; else it holds as far as can be decided."""
        if self.broken:
            return Conclusion.BROKEN
        if ESSENTIAL & set(self.with_outcome(Outcome.UNDECIDABLE)):
            return Conclusion.UNPROVEN
        return Conclusion.HOLDS

    def sentence(self) -> str:
        """Say in one sentence what the audit comes to."""
        undecidable = [rule for rule in self.with_outcome(Outcome.UNDECIDABLE) if rule not in ESSENTIAL]
        rest = f"; not decidable with what is at hand: {', '.join(undecidable)}" if undecidable else ""
        match self.conclusion:
            case Conclusion.BROKEN:
                return f"BROKEN: {', '.join(self.broken)}"
            case Conclusion.UNPROVEN:
                return f"UNPROVEN: nothing is broken, but {next(self._unproven())}"
            case _:
                return f"HOLDS: nothing is broken{rest}"

    def _unproven(self) -> Iterator[str]:
        return (one.why for one in self.verdicts if one.rule in ESSENTIAL and one.outcome is Outcome.UNDECIDABLE)


def audit(bundle: Bundle, *, anchor: bytes | None, model: bytes | None = None) -> Audit:
    """Audit a bundle against a block's hash that came from elsewhere; raises BundleInvalid where it can't be read.

    `model` is the hash of a model file that is to be the study's final model.
    """
    proven = prove(bundle, anchor, model)
    return Audit(proven.record, (*proven.verdicts, *judge(proven.record)))
