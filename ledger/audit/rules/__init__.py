"""The rules over a record, in the order in which a report tells them."""

from typing import Final

from ledger.audit.record import Record
from ledger.audit.rules.commitments import COMMITMENTS, HISTORY, PRIVACY, SIGNATURES
from ledger.audit.rules.consent import CONSENT, MEMBERSHIP, QUORUM, SPECIFICATION
from ledger.audit.rules.copies import COPIES
from ledger.audit.rules.deadlines import DEADLINES
from ledger.audit.rules.election import ABSENCE, ELECTION, FAIRNESS, REVEALS
from ledger.audit.rules.merging import EXCLUSIONS, LINEAGE, MERGE, MODEL
from ledger.audit.rules.transitions import TRANSITIONS
from ledger.audit.verdict import Rule, Verdict

RULES: Final[tuple[Rule, ...]] = (
    MODEL,
    SPECIFICATION,
    MEMBERSHIP,
    CONSENT,
    TRANSITIONS,
    DEADLINES,
    SIGNATURES,
    HISTORY,
    COMMITMENTS,
    REVEALS,
    ELECTION,
    QUORUM,
    LINEAGE,
    MERGE,
    EXCLUSIONS,
    COPIES,
    PRIVACY,
    FAIRNESS,
    ABSENCE,
)


def judge(record: Record) -> tuple[Verdict, ...]:
    """Apply every rule whose question arises."""
    verdicts = (rule.apply(record) for rule in RULES)
    return tuple(verdict for verdict in verdicts if verdict is not None)


__all__ = ["RULES", "judge"]
