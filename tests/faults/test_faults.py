"""Faults in a swarm of real processes: the study goes on, and the truth and the implied model come of it."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ledger.events import LeaderElected, RoundExtended, RoundFinalised, RoundSealed
from ledger.types import Fault
from swarm.merge import Objection
from tests.faults.swarm_rig import Rig, swarm

pytestmark = pytest.mark.slow

SITES = [f"site-{number}" for number in range(1, 5)]
LYING_SITE = Path(__file__).with_name("lying_site.py")
UNHURRIED = {"merge_seconds": 60, "least_seconds": 60}


def lying(lies: str) -> list[str]:
    return [sys.executable, str(LYING_SITE), lies]


def the_dead(rig: Rig) -> str:
    (dead,) = rig.cluster.dead()
    return dead.name


def dying(victim: str, plan: str) -> Callable[[str], Sequence[str]]:
    return lambda name: ["--die-at", plan] if name == victim else ()


def test_a_site_killed_in_training_is_missed_on_record(tmp_path: Path) -> None:
    victim = "site-2"
    with swarm(tmp_path, rounds=3, options=dying(victim, "before-commit@2")) as rig:
        rig.until_finished()
        assert the_dead(rig) == victim
        assert rig.merged(1) == set(SITES)
        assert rig.merged(2) == rig.merged(3) == set(SITES) - {victim}
        rig.check_models([name for name in SITES if name != victim])


def test_a_killed_site_comes_back_and_commits_once(tmp_path: Path) -> None:
    victim = "site-2"
    with swarm(tmp_path, rounds=3, min_sites=4, collect_seconds=3, options=dying(victim, "after-commit@2")) as rig:
        # Where nobody had fetched its update before it died, round 2 is retried; else round 3 lacks its commit.
        rig.until(lambda: any(isinstance(event, RoundExtended) for event in rig.events), "a round to be extended")
        assert the_dead(rig) == victim
        rig.cluster.restart(rig.site(victim))
        rig.until_finished()
        rig.check_models(SITES)
        assert all(rig.merged(number) == set(SITES) for number in range(4))


@pytest.mark.parametrize("moment", ["before-publish@2", "after-publish@2"])
def test_a_killed_leader_costs_one_deadline(tmp_path: Path, moment: str) -> None:
    with swarm(tmp_path, rounds=3, options=lambda name: ["--die-at", moment]) as rig:
        rig.until_finished()
        dead = the_dead(rig)
        first, *_ = terms = rig.study.round_numbered(2).terms
        assert rig.watcher.state.consortium.name_of(first.leader) == dead
        if moment.startswith("before"):
            assert first.fault is Fault.MERGE_TIMEOUT
            assert len(terms) == 2
        else:
            assert first.fault is None
        assert dead not in rig.merged(3)
        rig.check_models([name for name in SITES if name != dead])


def test_leaders_that_lie_are_rejected_and_on_record(tmp_path: Path) -> None:
    """One publishes the hash of something else, one leaves an honest site out; each time the next one leads."""
    with swarm(tmp_path, rounds=3, command=lying("wrong-output@1,omission@2"), **UNHURRIED) as rig:
        rig.until_finished()
        for number, objection in ((1, Objection.WRONG_OUTPUT), (2, Objection.OMITTED_INPUT)):
            liar, honest = rig.study.round_numbered(number).terms
            assert liar.fault is Fault.REJECTED
            assert set(liar.rejected.values()) == {objection}
            assert honest.leader != liar.leader
            assert honest.fault is None
            assert rig.merged(number) == set(SITES)
        omission = rig.study.round_numbered(2)
        assert omission.terms[0].publication is not None
        assert (omission.committed ^ omission.terms[0].publication.merged).bit_count() == 1
        rig.check_models(SITES)


def test_the_same_study_gives_the_same_model_whoever_leads_and_however_often_the_chain_is_restarted(
    tmp_path: Path,
) -> None:
    models = []
    for run, moments in (("quiet", {}), ("restarted", {2: RoundSealed, 3: LeaderElected, 4: RoundFinalised})):
        with swarm(tmp_path / run, rounds=5) as rig:
            for number, moment in moments.items():
                rig.until_event(moment, number)
                assert rig.devnet is not None
                rig.devnet.restart()
            rig.until_finished()
            rig.check_models(SITES)
            assert all(rig.merged(number) == set(SITES) for number in range(6))
            models.append(rig.study.final_output)
    assert models[0] == models[1]
