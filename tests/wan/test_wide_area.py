"""Sites that are far apart, on links that delay, lose, limit and break: the right model comes of it, or a sentence."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ledger.events import RoundExtended
from tests.wan.lab import Lab, missing
from tests.wan.wan_rig import FarRig, far_swarm, specified

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None, reason=missing() or ""),
]

SITES = [f"site-{number}" for number in range(1, 5)]
ODD_LINK = {"loss": 0.01, "rate_mbit": 20}
CLOCK_BEHIND = 300
LARGE = [2200, 2200]
NEEDED_BYTES = 2 * 4 * (31 * 2200 + 2201 * 2200 + 2 * 2201)  # two updates of 19.7 MB, in chunks of 4.2


def clock_error(swarm: FarRig, site: str) -> float:
    """By how many seconds a site's own clock, as its log tells it, is ahead of this one."""
    return (datetime.fromisoformat(swarm.log(site)[-1]["timestamp"]) - datetime.now(UTC)).total_seconds()


def test_a_swarm_lives_through_delay_loss_partition_an_asymmetric_cut_and_a_new_address(tmp_path: Path) -> None:
    limits = {
        "collect_seconds": 10,
        "grace_seconds": 30,
        "merge_seconds": 20,
        "review_seconds": 20,
        "least_seconds": 30,
    }
    with Lab() as lab:
        for name, delay, ahead in zip(SITES, (50, 150, 50, 150), (0, 0, 0, -CLOCK_BEHIND), strict=True):
            lab.site(name, delay_ms=delay, clock_ahead=ahead, **ODD_LINK)
        with far_swarm(lab, tmp_path, specified(9, 3, **limits)) as swarm:
            rig = swarm.rig
            swarm.until_final(1)
            assert clock_error(swarm, "site-4") < -CLOCK_BEHIND / 2 < clock_error(swarm, "site-1")

            near, far = swarm.cut_in_two()
            number = rig.study.round.number
            swarm.until(lambda: any(isinstance(event, RoundExtended) for event in rig.events), "an extended round")
            assert swarm.waits_for(near[0]) == f"collecting: waiting for {far[0]}, {far[1]}"
            answer = swarm.says(far[0], "status")
            assert answer["code"] == "ledger.rpc.unreachable"
            assert "the chain's node at http://10.77.0.1:8545 can't be reached" in answer["data"]["message"]
            lab.heal()
            swarm.until_final(number + 1)

            lab.cut_one_way("site-1", "site-2")  # site-1 hears site-2, and site-2 doesn't hear site-1
            swarm.until_final(number + 2)
            lab.heal()

            new = lab.readdress("site-2")
            swarm.until(lambda: f"/ip4/{new}/" in swarm.addresses_of("site-2"), "site-2 at its new address")
            rig.until_finished()

            assert set(near) < rig.merged(number)  # whoever of the others is back first completes it
            assert all(rig.merged(one) == set(SITES) for one in (1, number + 2, rig.study.terms.rounds))
            rig.check_models(SITES)
            clock = next(one for one in swarm.says("site-4", "doctor")["data"]["checks"] if one["check"] == "clock")
            assert re.fullmatch(r"this machine's clock is \d+ s behind the newest block", clock["says"])


def test_a_transfer_that_was_cut_goes_on_where_it_was(tmp_path: Path) -> None:
    sites = SITES[:3]
    limits = {"collect_seconds": 120, "merge_seconds": 240, "review_seconds": 120, "least_seconds": 240}
    with Lab() as lab:
        for name in sites:
            lab.site(name, delay_ms=20, rate_mbit=40)
        with far_swarm(lab, tmp_path, specified(1, 3, hidden=LARGE, **limits)) as swarm:
            rig, cut = swarm.rig, "site-3"
            swarm.until_final(0)
            swarm.until(lambda: len(swarm.inputs_for(cut)) == 2, "the others' updates")
            inputs = swarm.inputs_for(cut)
            swarm.until(lambda: swarm.kept(cut, inputs) >= 0.5 * NEEDED_BYTES, "much of what it needs at site-3")
            lab.cut_off(cut)
            swarm.until(lambda: swarm.stalled_on(cut) == set(sites) - {cut}, "site-3 to notice")
            kept, before = swarm.kept(cut, inputs), lab.counters(cut)[1].bytes
            assert kept < NEEDED_BYTES
            lab.heal()
            rig.until_finished()

            fetched = lab.counters(cut)[1].bytes - before
            assert NEEDED_BYTES - kept <= fetched < NEEDED_BYTES  # not less by all it kept: a late chunk is asked twice
            assert len(rig.study.round_numbered(1).terms) == 1, "it cost nobody a term"
            assert rig.merged(1) == set(sites)
            rig.check_models(sites)
