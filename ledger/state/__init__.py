"""What the ledger's events add up to: pure folds, each state a value."""

from ledger.state.consortium import ConsortiumState, Member, Motion
from ledger.state.round import Commit, Final, Publication, RoundState, Term, quorum
from ledger.state.study import Participant, StudyState
from ledger.state.whole import LedgerState

__all__ = [
    "Commit",
    "ConsortiumState",
    "Final",
    "LedgerState",
    "Member",
    "Motion",
    "Participant",
    "Publication",
    "RoundState",
    "StudyState",
    "Term",
    "quorum",
]
