"""When a site is of no use, and by which name that is told; and the same figures for Prometheus."""

from dataclasses import replace
from typing import Any

import pytest
from ledger_script import NAMES, RunnerWorld, commitment
from prometheus_client.parser import text_string_to_metric_families
from round_world import HELLO

from ledger.events import LeaderFailed, SiteRemoved, SiteWithdrew
from ledger.types import Fault
from node.api.health import Ailment, Circumstances, ailments
from node.api.live import Observation
from node.api.metrics import render
from node.api.tokens import Scope
from node.config import ApiConfig
from node.network.port import FaultKind, PeerFault, PeerView, Traffic
from node.rounds.stopwatch import Stopwatch
from node.tally import Tally

VIRTUAL_CLOCK = True
GIB = 1 << 30
"""Enough."""


@pytest.fixture
def world(tmp_path: Any) -> RunnerWorld:
    return RunnerWorld(tmp_path / "studies" / "1")


def seen(world: RunnerWorld, **changed: Any) -> Observation:
    """What is seen of a site in a study, with another member connected."""
    tally = world.tally
    fields: dict[str, Any] = {
        "state": world.chain._state,
        "cursor": None,
        "reachable": True,
        "head_age": 1.0,
        "head_timestamp": 0,
        "rpc_errors": 0,
        "peers": {"bea": PeerView("bea", True, None, HELLO)},
        "traffic": {},
        "round_seconds": {study: (sums.count, dict(sums.seconds)) for study, sums in tally.rounds.items()},
        "peer_faults": tally.peer_faults,
        "failures": tally.failures,
        "refusals": tally.refusals,
        "failing": tally.failing,
        "halted": tally.halted,
    }
    return Observation(**{**fields, **changed})


def around(**changed: Any) -> Circumstances:
    config = ApiConfig(stale_head_seconds=60, min_free_mib=100)
    return replace(Circumstances("ada", config, False, False, GIB, 2.0), **changed)


def codes(found: list[Ailment]) -> list[str]:
    return [one.code for one in found]


def test_a_member_with_a_chain_a_peer_and_room_is_healthy(world: RunnerWorld) -> None:
    assert ailments(seen(world), around()) == []


@pytest.mark.parametrize(
    ("observed", "circumstances", "code"),
    [
        ({"reachable": False}, {}, "chain_unreachable"),
        ({"head_age": 61.0}, {}, "chain_stale"),
        ({}, {"age_of_head": 661.0}, "chain_stale"),
        ({}, {"free_bytes": 100 * (1 << 20) - 1}, "disk_full"),
        ({"peers": {}}, {}, "no_peers"),
        ({"failing": {(1, "Train"): "node.worker"}}, {}, "training_fails"),
        ({"halted": {1: "node.study_refused"}}, {}, "study_halted"),
        ({}, {"is_paused": True}, "paused"),
        ({}, {"address": "stranger"}, "not_member"),
    ],
)
def test_each_reason_has_its_name(
    world: RunnerWorld, observed: dict[str, Any], circumstances: dict[str, Any], code: str
) -> None:
    assert codes(ailments(seen(world, **observed), around(**circumstances))) == [code]


def test_a_development_chain_may_rest(world: RunnerWorld) -> None:
    assert ailments(seen(world, head_age=1e6), around(age_of_head=1e6, is_development=True)) == []


def test_a_clock_that_is_wrong_by_minutes_makes_nobody_ill(world: RunnerWorld) -> None:
    assert ailments(seen(world), around(age_of_head=400.0)) == []


def test_every_reason_is_told_and_nothing_of_the_insides(world: RunnerWorld) -> None:
    ill = seen(world, reachable=False, peers={"bea": PeerView("bea", False, fault="secret")}, halted={1: "node.secret"})
    found = ailments(ill, around(free_bytes=0, is_paused=True))
    assert codes(found) == ["chain_unreachable", "disk_full", "study_halted", "no_peers", "paused"]
    assert "secret" not in str(found)


def test_other_failures_than_of_training_and_studies_that_do_not_run_make_nobody_ill(world: RunnerWorld) -> None:
    failing = {(1, "Verify"): "node.storage", (7, "Train"): "node.worker"}
    assert ailments(seen(world, failing=failing, halted={7: "node.study_refused"}), around()) == []
    world.chain.say(SiteWithdrew, site="ada", seat=0)
    assert ailments(seen(world, halted={1: "node.study_refused"}), around()) == []


def test_a_consortium_of_one_needs_no_peer(world: RunnerWorld) -> None:
    for seat, name in enumerate(NAMES[1:], start=1):
        world.chain.say(SiteRemoved, site=name, seat=seat, motion=seat)
    assert ailments(seen(world, peers={}), around()) == []


def test_training_that_works_again_is_forgotten() -> None:
    tally = Tally()
    tally.failed(1, "Train", "node.worker")
    tally.failed(1, "Train", "node.worker")
    tally.succeeded(1, "Train")
    assert (tally.failing, tally.failures["Train", "node.worker"]) == ({}, 2)
    tally.halt(2, "node.worker")
    tally.under_way(2)
    assert tally.halted == {}


# -- the same for Prometheus -----------------------------------------------------------------------------------------


def figures(observation: Observation, **options: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Each sample by its name and labels; the parser refuses what isn't the text format."""
    given = {"me": "ada", "free_bytes": GIB, "age_of_head": 2.5, "is_paused": False, **options}
    families = list(text_string_to_metric_families(render(observation, **given).decode()))
    assert len({family.name for family in families}) == len(families)
    assert all(family.documentation and family.name.startswith("swarm_") for family in families)
    samples = [sample for family in families for sample in family.samples]
    found = {(sample.name, tuple(sorted(sample.labels.items()))): float(sample.value) for sample in samples}
    assert len(found) == len(samples), "a series is given twice"
    return found


def test_the_figures_are_those_of_the_ledger_and_the_site(world: RunnerWorld) -> None:
    world.chain.play_round(1, {"bea": bytes(31) + b"b", "cleo": bytes(31) + b"c"}, bytes(31) + b"o")
    world.chain.commit("bea", 2, commitment(bytes(31) + b"d"))
    world.chain.seal(2, 0b0010, "bea")
    world.chain.say(LeaderFailed, round=2, leader="bea", term=0, fault=Fault.MERGE_TIMEOUT)
    clock = iter([0.0, 0.0, 4.0, 5.0])
    watch = Stopwatch(lambda: next(clock))
    with watch.on("training"):  # type: ignore[arg-type]
        pass
    world.tally.round_ended(1, watch.lap())
    world.tally.peer_fault(PeerFault("bea", FaultKind.CORRUPT, "x"))
    world.tally.failed(1, "Train", "node.worker")
    world.tally.refused("ledger.contract.round_not_collecting")
    found = figures(seen(world, traffic={"bea": Traffic(7, 9), "gone": Traffic(1, 2)}, rpc_errors=3), is_paused=True)
    study, bea = ("study", "1"), (("name", "bea"), ("peer", "bea"))
    assert found["swarm_rounds_final_total", (study,)] == 1
    assert found["swarm_round", (study,)] == 2
    assert found["swarm_leader_faults_total", (("kind", "merge_timeout"), study)] == 1
    assert found["swarm_round_seconds_count", (study,)] == 1
    assert found["swarm_round_seconds_sum", (study,)] == 5
    assert found["swarm_training_seconds_total", (study,)] == 4
    assert found["swarm_round_phase_seconds_total", (("phase", "training"), study)] == 4
    assert found["swarm_round_phase_seconds_total", (("phase", "waiting"), study)] == 1
    assert found["swarm_epsilon_spent", (study,)] == 0
    assert found["swarm_peer_sent_bytes_total", bea] == 7
    assert found["swarm_peer_received_bytes_total", bea] == 9
    assert found["swarm_peer_connected", bea] == 1
    assert found["swarm_peer_sent_bytes_total", (("name", "gone"), ("peer", "gone"))] == 1
    assert found["swarm_peer_faults_total", (("kind", "corrupt"),)] == 1
    assert found["swarm_action_failures_total", (("action", "train"), ("code", "node.worker"))] == 1
    assert found["swarm_ledger_refusals_total", (("code", "ledger.contract.round_not_collecting"),)] == 1
    for name, value in {
        "connected_peers": 1,
        "members": 4,
        "member": 1,
        "paused": 1,
        "chain_reachable": 1,
        "chain_head_age_seconds": 2.5,
        "rpc_errors_total": 3,
        "disk_free_bytes": GIB,
    }.items():
        assert found[f"swarm_{name}", ()] == value


def test_a_members_name_can_not_break_the_format(world: RunnerWorld) -> None:
    from ledger.events import SiteAdmitted

    hostile = 'x"} 1\nswarm_members 99\n\\{'
    world.chain.say(SiteAdmitted, site="eve", seat=4, name=hostile)
    found = figures(seen(world))
    assert found["swarm_members", ()] == 5
    assert found["swarm_peer_connected", (("name", hostile), ("peer", "eve"))] == 0


def test_scopes_are_those_that_the_command_offers() -> None:
    from node.cli.token import token_new

    (offered,) = [one.type.choices for one in token_new.params if one.name == "scopes"]  # type: ignore[attr-defined]
    assert set(offered) == set(Scope)
