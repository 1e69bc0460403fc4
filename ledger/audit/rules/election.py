"""Whether every seed and every leader is the one that the reveals give, and how evenly leadership fell."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ledger import events as e
from ledger.abi import keccak256
from ledger.audit.record import Record, where
from ledger.audit.verdict import Rule, Tally
from ledger.state import elect, genesis_seed, mix, next_seed
from ledger.types import Address, Phase, seats_of

LEVEL: Final = 1e-6
"""Below this probability an outcome counts as no chance: one false alarm in a million honest studies."""


def judge_election(record: Record) -> Tally:
    """Draw every election again."""
    tally = Tally()
    for step in record.own_steps:
        event, study = step.event, record.study_before(step)
        if study is None:
            continue
        match event:
            case e.StudyStarted(seed=seed):
                deployment = record.deployment
                first = genesis_seed(deployment.chain_id, deployment.study, record.study, study.spec_hash)
                tally.check(seed == first, "the study starts from another seed than its own", **where(event))
            case e.RoundSealed(seed=seed) if study.rounds:
                reveals = [(seat, commit.commitment.reveal) for seat, commit in study.round.commits.items()]
                expected = next_seed(study.seed, mix(reveals), event.round, event.attempt)
                tally.check(seed == expected, "the seed isn't the one that the reveals give", **where(event))
            case e.LeaderElected(seat=seat, leader=leader) if study.rounds:
                candidates = study.round.sealed if event.term == 0 else study.candidates
                drawn = elect(study.seed, event.term, candidates) if candidates else None
                tally.check(seat == drawn, f"seat {seat} leads, and the seed elects seat {drawn}", **where(event))
                sits = any(site.account == leader and site.seat == seat for site in study.sites.values())
                tally.check(sits, f"{leader} isn't on seat {seat}", **where(event))
    tally.said = f"{tally.checked} seeds and leaders follow from the reveals"
    return tally


def judge_reveals(record: Record) -> Tally:
    """Follow every site's hash chain from the tip that it deposited."""
    tally = Tally()
    for step in record.own_steps:
        event, study = step.event, record.study_before(step)
        if not isinstance(event, e.UpdateCommitted) or study is None:
            continue
        site = study.sites.get(event.site)
        if tally.check(site is not None, "it commits without having deposited a hash chain", **where(event)) and site:
            link = keccak256(event.commitment.reveal)
            tally.check(link == site.link, "what it reveals isn't the next link of its hash chain", **where(event))
    tally.said = f"{tally.checked // 2} reveals, each the next link of its site's chain"
    return tally


def judge_fairness(record: Record) -> Tally | None:
    """Hold how often each site was drawn against how often it could have been."""
    draws = list(_draws(record))
    names = sorted({site for candidates, _ in draws for site in candidates})
    if not draws:
        return None
    tally = Tally()
    least = 1.0
    for site in names:
        chances = [1 / len(candidates) for candidates, _ in draws if site in candidates]
        led = sum(winner == site for _, winner in draws)
        probability = min(1.0, two_sided(chances, led) * len(names))
        least = min(least, extreme(chances) * len(names))
        tally.figures[site] = {
            "name": record.name(site),
            "drawn": led,
            "elections": len(chances),
            "expected": round(sum(chances), 3),
            "p": probability,
        }
        what = f"{record.name(site)} was drawn {led} times of {len(chances)}: chance makes that with {probability:.2g}"
        tally.check(probability >= LEVEL, what, site=site)
    if least >= LEVEL and len(names) > 1:
        tally.leave_open(f"{len(draws)} elections are too few: no outcome of them would be improbable enough to tell")
    tally.said = f"{len(draws)} elections among {len(names)} sites fell as chance lets them fall"
    return tally


def judge_absence(record: Record) -> Tally | None:
    """Count who could have committed and didn't: withholding a commit is all that can bend an election."""
    eligible, committed = Counter[Address](), Counter[Address]()
    for step in record.own_steps:
        study = record.study_before(step)
        if isinstance(step.event, e.RoundSealed) and study is not None and study.phase is Phase.COLLECTING:
            for site in study.sites.values():
                eligible[site.account] += study.eligible >> site.seat & 1
                committed[site.account] += step.event.committed >> site.seat & 1
    if not eligible:
        return None
    tally = Tally(checked=sum(eligible.values()))
    for account, could in eligible.items():
        tally.figures[account] = {"name": record.name(account), "eligible": could, "committed": committed[account]}
    missing = sum(eligible.values()) - sum(committed.values())
    tally.said = f"{missing} of {tally.checked} possible commits were withheld, or came too late"
    return tally


def _draws(record: Record) -> Iterator[tuple[tuple[Address, ...], Address]]:
    """Every election: who could win, and who did."""
    for step in record.own_steps:
        event, study = step.event, record.study_before(step)
        if isinstance(event, e.LeaderElected) and study is not None and study.rounds:
            seats = set(seats_of(study.round.sealed if event.term == 0 else study.candidates))
            candidates = tuple(site.account for site in study.sites.values() if site.seat in seats)
            if event.leader in candidates:
                yield candidates, event.leader


def distribution(chances: list[float]) -> NDArray[np.float64]:
    """Give the exact distribution of how many of some independent draws are won (Poisson's binomial).

    Where all chances are equal it is the binomial distribution.
    """
    result = np.ones(1)
    for chance in chances:
        result = np.convolve(result, (1 - chance, chance))
    return result


def two_sided(chances: list[float], won: int) -> float:
    """Give the probability of an outcome that is at most as probable as this one: the exact two-sided test."""
    probabilities = distribution(chances)
    return float(min(1.0, probabilities[probabilities <= probabilities[won] * (1 + 1e-7)].sum()))


def extreme(chances: list[float]) -> float:
    """Give the smallest value that the test could have come to."""
    return float(distribution(chances).min())


ELECTION = Rule(
    "election",
    "Every round's seed is computed again from the reveals, and every term's leader from the seed.",
    "A leader chooses what is merged: one that was not elected was put there by somebody.",
    judge_election,
    "no round was sealed",
)
REVEALS = Rule(
    "reveals",
    "Every commit reveals the next link of the hash chain whose tip its site deposited before.",
    "A site that could choose its reveal could choose the leader.",
    judge_reveals,
    "nobody has committed",
)
FAIRNESS = Rule(
    "fairness",
    "How often each site was drawn as leader, held by an exact test against the chances that it had.",
    f"Below {LEVEL:g} (two-sided, corrected for the number of sites) the draw is no chance: somebody bends it, by "
    "withholding commits or by knowing others' links. Above it, chance explains what is seen; it proves no fairness.",
    judge_fairness,
)
ABSENCE = Rule(
    "absence",
    "How often each site could have committed, and did not.",
    "To withhold its commit is all that a site can do to an election. It is allowed, so that this rule only counts.",
    judge_absence,
)
