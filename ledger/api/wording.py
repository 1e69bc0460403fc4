"""The ledger's codes in plain words."""

from typing import Final

from ledger.types import Fault, Phase
from swarm.merge import Exclusion, Objection

FAULTS: Final = {
    Fault.MERGE_TIMEOUT: "it published nothing before its deadline",
    Fault.REVIEW_TIMEOUT: "its output found no quorum before the deadline",
    Fault.REJECTED: "the others recomputed its output and rejected it",
    Fault.NOT_MEMBER: "it was no member any more",
}
EXCLUSIONS: Final = {
    Exclusion.UNREACHABLE: "nobody gave bytes of its hash",
    Exclusion.MALFORMED: "the bytes were no update",
    Exclusion.WRONG_SHAPE: "it had another shape than the study's model",
    Exclusion.OVER_CLIP: "it was larger than the study's clip bound",
    Exclusion.NOT_FINITE: "it held a number that isn't finite",
}
OBJECTIONS: Final = {
    Objection.WRONG_OUTPUT: "the same inputs make another output",
    Objection.OMITTED_INPUT: "an input that was at hand was left out",
    Objection.INVALID_INPUT_MERGED: "an input was merged that breaks the rules",
    Objection.UNVERIFIABLE: "its inputs could not be fetched",
}
WAITS: Final = {
    Phase.IDLE: "",
    Phase.COLLECTING: "updates of the sites",
    Phase.MERGING: "the leader's output",
    Phase.REVIEWING: "reviews of the leader's output",
}


def exclusion(reason: int) -> str:
    """Say why an update was left out."""
    return EXCLUSIONS[Exclusion(reason)] if reason in set(Exclusion) else f"for no reason that there is ({reason})"


def objection(reason: int) -> str:
    """Say why a site rejected an output."""
    return OBJECTIONS[Objection(reason)] if reason in set(Objection) else f"for no reason that there is ({reason})"
