"""A chain that makes a block every two seconds, as Besu's does: a swarm of real sites finishes on it."""

from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from ledger.events import RoundFinalised
from tests.faults.paced_chain import paced_chain
from tests.faults.swarm_rig import swarm

SITES = [f"site-{number}" for number in range(1, 5)]
BLOCK_SECONDS = 2


@pytest.mark.slow
def test_a_study_on_a_chain_with_two_seconds_a_block(tmp_path: Path) -> None:
    limits = {"grace_seconds": 30, "merge_seconds": 30, "review_seconds": 30}
    with swarm(tmp_path, rounds=4, chain=partial(paced_chain, block_seconds=BLOCK_SECONDS), **limits) as rig:
        rig.until_finished()
        assert all(rig.merged(number) == set(SITES) for number in range(5))
        assert all(len(one.terms) == 1 for one in rig.study.rounds)
        rig.check_models(SITES)
        finals = [event.at.timestamp for event in rig.events if isinstance(event, RoundFinalised)]
    rounds = [after - before for before, after in pairwise(finals[1:])]
    print(f"seconds a round on {BLOCK_SECONDS} s blocks: {rounds}, median {median(rounds)}")
