"""The path of new operators with real processes: from nothing to a finished study, and one more site in the middle."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from operator_world import NAMES, World, done

from ledger.devnet import Devnet
from ledger.types import seats_of
from node.operator.desk import open_desk
from node.site_folder import SiteFolder
from node.study_folder import StudyFolder
from node.version import SOFTWARE
from swarm import studies
from swarm.model_file import model_hash
from tests.node.site_world import running

pytestmark = pytest.mark.slow

LATE = "dora"
LIMITS = {"collect_seconds = 120": "collect_seconds = 600", "grace_seconds = 2": "grace_seconds = 60"}


def write_study(path: Path) -> Path:
    """A study that waits for its third site however long that takes, and then for all of them."""
    text = studies.text("breast-cancer")
    for before, after in LIMITS.items():
        assert before in text
        text = text.replace(before, after)
    path.write_text(text, encoding="utf-8")
    return path


def join_and_accept(world: World, name: str, spec_hash: str) -> None:
    """What one more operator types, and the votes of the others."""
    world.new_site(name, shard=3, shards=4)
    applied = done("join", "--home", world.home(name), "--deployment", world.deployment, "--no-wait")
    for member in NAMES:
        done("vote", "--home", world.home(member), applied["motion"], "--approve")
    assert done("join", "--home", world.home(name))["member"]
    assert done("study", "accept", "--home", world.home(name), 1, "--spec", spec_hash)["status"] == "running"


def test_sites_join_agree_run_and_are_joined_in_the_middle(tmp_path: Path) -> None:
    with ExitStack() as stack:
        devnet = stack.enter_context(Devnet.start(tmp_path / "chain"))
        world = World(devnet, tmp_path)
        world.found(*NAMES)
        file = write_study(tmp_path / "study.toml")
        proposed = done("study", "propose", "--home", world.home("ada"), file, "--yes")
        for name in NAMES:
            done("study", "accept", "--home", world.home(name), 1, "--spec", proposed["spec_hash"])
        sites = [stack.enter_context(running(world.home(name))) for name in ("ada", "bea")]
        for site in sites:
            site.until("committed")
        status = done("status", "--home", world.home("ada"))
        assert status["node_running"]
        assert status["studies"][0]["waits_for"] == "collecting: waiting for cleo"
        # cleo's operator is late, and meanwhile a fourth hospital joins the consortium and the running study
        join_and_accept(world, LATE, proposed["spec_hash"])
        seen = {finding["says"] for finding in done("doctor", "--home", world.home(LATE))["checks"]}
        assert {f"{name} answers; it runs {SOFTWARE}" for name in ("ada", "bea")} < seen
        assert "fits study 1" in seen
        sites += [stack.enter_context(running(world.home(name))) for name in (LATE, "cleo")]
        for site in sites:
            site.until("study_finished")
        with open_desk(world.home(LATE), signing=False) as desk:
            study = desk.study(1)
            seat = study.sites[desk.address].seat
        finals = {one.number: set(seats_of(one.final.merged)) for one in study.rounds if one.final is not None}
        assert list(finals) == list(range(13))
        first = min(number for number, seats in finals.items() if seat in seats)
        assert 1 <= first <= 2
        assert all((seat in seats) == (number >= first) for number, seats in finals.items())
        models = [StudyFolder(SiteFolder(world.home(name)).study(1)).model_path for name in (*NAMES, LATE)]
        assert {model_hash(model) for model in models} == {study.final_output}
