"""What the ledger's events add up to: pure folds, each state a value."""

from ledger.state.consortium import ConsortiumState, Member, Motion, Spell
from ledger.state.election import contribution, elect, genesis_seed, mix, next_seed, quorum
from ledger.state.round import Commit, Final, Publication, RoundState, Seal, Term
from ledger.state.study import Participant, StudyState
from ledger.state.whole import LedgerState, fold

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
    "Seal",
    "Spell",
    "StudyState",
    "Term",
    "contribution",
    "elect",
    "fold",
    "genesis_seed",
    "mix",
    "next_seed",
    "quorum",
]
