"""The path of new operators with real processes: from nothing to a finished study, and one more site in the middle."""

import json
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from operator_world import NAMES, World, done, refused, swarm_node
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score

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
LIMITS = {
    "collect_seconds = 120": "collect_seconds = 600\nleast_seconds = 600",  # nobody is missed because a machine is busy
    "grace_seconds = 2": "grace_seconds = 60",
}


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
        (pace,) = [says for says in seen if says.startswith("study 1: about")]
        assert "2 updates of 16.5 KB" in pace or "3 updates of 16.5 KB" in pace
        assert "measured with 2 members" in pace
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
        check_export(world, tmp_path / "model", study.final_output)
        check_canary(world)


def check_canary(world: World) -> None:
    """One round with the sites that run, as their operators try a study out."""
    started = done("canary", "start", "--home", world.home("bea"), 1, "--yes")
    assert (started["of"], started["name"]) == ("breast-cancer", "breast-cancer-canary")
    number, homes = started["study"], [world.home(name) for name in (*NAMES, LATE)]
    before = done("canary", "verdict", "--home", homes[0], number)
    assert (before["passed"], before["waits_for"]) == (None, "waiting for the answer of ada, bea, cleo, dora")
    for home in homes:
        done("study", "accept", "--home", home, number, "--spec", started["spec_hash"])
    data = done("canary", "verdict", "--home", homes[0], number, "--wait")
    assert (data["status"], data["passed"], data["faults"], data["absent"]) == ("finished", True, [], [])
    assert [site["name"] for site in data["sites"]] == [*NAMES, LATE]
    assert all(site["committed"] and site["merged"] and site["gas"] > 100_000 for site in data["sites"])
    assert [one["round"] for one in data["rounds"]] == [0, 1]
    estimate = data["estimate"]
    assert (estimate["study"], estimate["rounds"]) == ("breast-cancer", 12)
    assert estimate["seconds"] >= 12 * estimate["seconds_per_round"]
    here = StudyFolder(SiteFolder(homes[0]).study(number)).timings()
    assert here.keys() == {0, 1}
    assert all(sum(spent[what] for spent in here.values()) > 0 for what in ("training", "sent", "received"))
    shown = swarm_node("canary", "verdict", "--home", homes[0], number)
    assert shown.exit_code == 0
    assert "it went well" in shown.stdout
    assert "round 1 at this site: training" in shown.stdout


def check_export(world: World, out: Path, final: bytes | None) -> None:
    """The model is handed on with its card, and any member can tell what it is."""
    done("model", "export", "--home", world.home(LATE), 1, "--out", out)
    card = (out / "model-card.md").read_text(encoding="utf-8")
    assert final is not None
    assert final.hex() in card
    assert "| ada |" in card
    assert "Not measured" not in card
    columns = json.loads((out / "standardisation.json").read_text())["columns"]
    assert columns[0]["name"] == "mean radius"
    home = world.home("bea")
    (found,) = done("model", "verify", "--home", home, out / "model.safetensors")["found"]
    assert (found["study"], found["round"], found["last"]) == (1, 12, True)
    assert set(found["merged"]) == {*NAMES, LATE}
    damaged = bytearray((out / "model.safetensors").read_bytes())
    damaged[-1] ^= 1
    (out / "damaged.safetensors").write_bytes(damaged)
    assert "no final model of any study" in refused("model", "verify", "--home", home, out / "damaged.safetensors")[1]
    assert "exists" in refused("model", "export", "--home", world.home(LATE), 1, "--out", out)[1]
    check_deployable(world, out.with_name("deployable"))


def check_deployable(world: World, out: Path) -> None:
    """Another program gives raw values to the file that lies beside the model, and its card says how."""
    told = done("model", "export", "--home", world.home(LATE), 1, "--out", out, "--format", "onnx")
    assert told["largest_difference"] < 1e-5
    data = load_breast_cancer()
    session = onnxruntime.InferenceSession(str(out / "model.onnx"))
    (found,) = session.run(["probabilities"], {"features": data.data.astype(np.float32)})
    assert roc_auc_score(data.target == 0, found[:, 1]) > 0.95
    card = (out / "model-card.md").read_text(encoding="utf-8")
    assert "`model.onnx` (onnx) takes raw values" in card
    assert "| mean radius |" in card
    assert "in this order: benign, malignant" in card
