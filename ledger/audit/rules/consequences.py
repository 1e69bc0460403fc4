"""What the contract writes at once as the consequence of something else, in the same transaction."""

from typing import Final

from ledger import events as e
from ledger.events import Event, StudyEvent
from ledger.state import StudyState, quorum
from ledger.types import Phase, bitmap_of

Kinds = tuple[type[Event], ...]
_ELECTED: Final[Kinds] = (e.LeaderElected, e.RoundRetried)
CAUSES: Final[dict[type[Event], Kinds]] = {
    e.RoundOpened: (e.StudyStarted, e.RoundFinalised),
    e.LeaderElected: (e.RoundSealed, e.LeaderFailed, e.CommitsVoided),
    e.RoundRetried: (e.LeaderFailed, e.CommitsVoided),
    e.CommitsVoided: (e.LeaderFailed,),
    e.StudyFinished: (e.RoundFinalised,),
}
"""What the contract writes only as the consequence of another event, at once."""


def consequences(event: StudyEvent, after: StudyState) -> Kinds:
    """Give what the contract must write next; empty where it may wait for somebody."""
    match event:
        case e.StudyStarted():
            return (e.RoundOpened,)
        case e.RoundSealed():
            return (e.LeaderElected,)
        case e.LeaderFailed():
            return (e.CommitsVoided,) if after.upcoming else _ELECTED
        case e.CommitsVoided():
            return _ELECTED
        case e.RoundFinalised(round=number):
            return (e.StudyFinished,) if number == after.terms.rounds else (e.RoundOpened,)
        case e.RoundOpened() | e.UpdateCommitted() if after.phase is Phase.COLLECTING and _is_complete(after):
            return (e.RoundSealed,)
        case e.ModelPublished() | e.OutputAttested() | e.OutputRejected() | e.UpdateCommitted():
            return _outcome(event, after)
        case e.AbortVoted():
            return (e.StudyAborted,) if abort_carries(after) else ()
        case _:
            return ()


def _is_complete(study: StudyState) -> bool:
    return not study.eligible & ~study.round.committed and study.eligible.bit_count() >= study.terms.min_sites


def _outcome(event: StudyEvent, study: StudyState) -> Kinds:
    """What a review must end with at once; an attestation may bring a commit first, which comes with it."""
    if study.phase is not Phase.REVIEWING or study.round.term is None:
        return ()
    term, voters = study.round.term, study.voters
    attested = (bitmap_of(*term.attested) & voters).bit_count()
    if voters.bit_count() >= study.terms.min_sites and attested >= study.quorum:
        rides = isinstance(event, e.OutputAttested) and study.round.number < study.terms.rounds
        return (e.RoundFinalised, e.UpdateCommitted) if rides else (e.RoundFinalised,)
    if voters and (voters & ~bitmap_of(*term.rejected)).bit_count() < study.quorum:
        rides = isinstance(event, e.OutputAttested)
        return (e.LeaderFailed, e.UpdateCommitted) if rides else (e.LeaderFailed,)
    return ()


def abort_carries(study: StudyState) -> bool:
    """Say whether a quorum of the participants voted to abort."""
    present = [site for site in study.sites.values() if not site.withdrawn and study.active >> site.seat & 1]
    votes = sum(site.account in study.abort_votes for site in present)
    return votes >= quorum(len(present), study.terms.quorum_bps)
