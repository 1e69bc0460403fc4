"""Is this site of any use right now? Each reason why not has a stable code."""

from collections.abc import Iterator
from dataclasses import dataclass

from ledger.types import Address, Status
from node.api.live import Observation
from node.config import ApiConfig

MIB = 1 << 20
CLOCK_SECONDS = 600.0
"""How wrong this machine's clock may be before a block's timestamp counts for old."""


@dataclass(frozen=True, slots=True)
class Ailment:
    """What makes a site useless, in a sentence that tells strangers nothing more than that."""

    code: str
    says: str


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What health depends on besides the observation."""

    address: Address
    config: ApiConfig
    is_development: bool
    is_paused: bool
    free_bytes: int
    age_of_head: float


STUCK = Ailment("loop_stuck", "the site's loop does not answer")


def ailments(seen: Observation, around: Circumstances) -> list[Ailment]:
    """Every reason why a site is of no use, the gravest first; empty where it is healthy."""
    return [
        *_membership(seen, around),
        *_chain(seen, around),
        *_disk(around),
        *_studies(seen, around.address),
        *_peers(seen, around.address),
        *([Ailment("paused", "its operator has paused it")] if around.is_paused else []),
    ]


def _membership(seen: Observation, around: Circumstances) -> Iterator[Ailment]:
    if around.address not in seen.consortium.members:
        yield Ailment("not_member", "it is no member of the consortium any more")


def _chain(seen: Observation, around: Circumstances) -> Iterator[Ailment]:
    if not seen.reachable:
        yield Ailment("chain_unreachable", "its Ethereum node does not answer")
        return
    if around.is_development:
        return  # such a chain makes a block only when there is something to put into it
    longest = around.config.stale_head_seconds
    if seen.head_age > longest or around.age_of_head > longest + CLOCK_SECONDS:
        yield Ailment("chain_stale", "its Ethereum node gives no new blocks")


def _disk(around: Circumstances) -> Iterator[Ailment]:
    if around.free_bytes < around.config.min_free_mib * MIB:
        yield Ailment("disk_full", "its disk is full, or nearly")


def _studies(seen: Observation, me: Address) -> Iterator[Ailment]:
    """The studies that run and that this site should take part in, and can't."""
    for number, study in seen.studies.items():
        place = study.sites.get(me)
        if study.status is not Status.RUNNING or place is None or place.withdrawn:
            continue
        if number in seen.halted:
            yield Ailment("study_halted", f"it can't take part in study {number}")
        elif (number, "Train") in seen.failing:
            yield Ailment("training_fails", f"its training for study {number} fails")


def _peers(seen: Observation, me: Address) -> Iterator[Ailment]:
    if seen.consortium.members.keys() - {me} and not seen.connected:
        yield Ailment("no_peers", "no other member is connected")
