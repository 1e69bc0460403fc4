"""Inputs that nobody can merge: each is left out on record for the right reason, and the study goes on without it."""

import sys
from pathlib import Path

import pytest

from ledger.types import seats_of
from swarm.merge import Exclusion
from tests.faults.swarm_rig import Rig, swarm

pytestmark = pytest.mark.slow

SITES = [f"site-{number}" for number in range(1, 5)]
HERE = Path(__file__).parent

DEEDS = {
    0: ("impossible-count", Exclusion.OVER_CLIP),
    1: ("statistics-again", Exclusion.WRONG_SHAPE),
    2: ("the-moments", Exclusion.WRONG_SHAPE),
    3: ("the-model", Exclusion.WRONG_SHAPE),
    4: ("over-clip", Exclusion.OVER_CLIP),
    5: ("wrong-shape", Exclusion.WRONG_SHAPE),
    6: ("nan-model", Exclusion.WRONG_SHAPE),
    7: ("oversized", Exclusion.MALFORMED),
    8: ("truncated", Exclusion.UNREACHABLE),
    9: ("changed", Exclusion.UNREACHABLE),
    10: ("nobody-has-it", Exclusion.UNREACHABLE),
}


def left_out(rig: Rig, number: int) -> dict[str, Exclusion]:
    """Who was left out of a round's final merge, and why."""
    one = rig.study.round_numbered(number)
    publication = one.terms[-1].publication
    assert publication is not None
    seats = seats_of(one.committed & ~publication.merged)
    return {rig.name_of(seat): Exclusion(reason) for seat, reason in zip(seats, publication.reasons, strict=True)}


def test_what_nobody_can_merge_is_left_out_for_its_reason(tmp_path: Path) -> None:
    """One site, hostile in every round but the last: updates are kept for one round, so that deletions show, too."""
    hostile = "site-3"
    plan = ",".join(f"{deed}@{number}" for number, (deed, _) in DEEDS.items())
    commands = {hostile: [sys.executable, str(HERE / "hostile_site.py"), plan]}
    with swarm(
        tmp_path,
        rounds=len(DEEDS),
        commands=commands,
        grace_seconds=30,
        merge_seconds=2,
        review_seconds=6,
        retention_rounds=1,
    ) as rig:
        rig.until_finished()
        reasons = {number: left_out(rig, number) for number in DEEDS}
        assert reasons == {number: {hostile: reason} for number, (_, reason) in DEEDS.items()}
        assert rig.merged(len(DEEDS)) == set(SITES)
        rig.check_models(SITES)
        assert not rig.cluster.dead()


def test_a_training_process_that_fails_harms_its_own_site_only(tmp_path: Path) -> None:
    victim = "site-2"
    configs = {victim: {"worker": [sys.executable, str(HERE / "hostile_worker.py")]}}
    with swarm(tmp_path, rounds=4, configs=configs) as rig:
        rig.until_finished()
        assert rig.merged(0) == set(SITES)
        for number in range(1, 5):
            assert rig.merged(number) == set(SITES) - {victim}
            assert victim not in left_out(rig, number)
        rig.check_models(SITES)
        assert not rig.cluster.dead()
        log = rig.site(victim).log.read_text()
        assert "the loss is not finite in step 3" in log
        assert "its update is over_clip; it is not committed" in log
