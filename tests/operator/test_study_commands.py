"""Proposing, reading and answering studies, as operators type it."""

from pathlib import Path

import pytest
from operator_world import World, done, refused, swarm_node

from node.errors import StudyRefused
from node.operator.desk import open_desk
from node.operator.round_estimate import estimate
from node.study import Study
from swarm import studies
from swarm.loop.module import save
from swarm.spec import StudySpec
from tests.swarm.loop_samples import loop_spec, small_module


def write_study(path: Path, **training: object) -> Path:
    text = studies.text("breast-cancer").replace("rounds = 12", f"rounds = {training.get('rounds', 2)}")
    if "learning_rate" in training:
        text = text.replace("learning_rate = 0.03", f"learning_rate = {training['learning_rate']}")
    path.write_text(text, encoding="utf-8")
    return path


def propose(world: World, **training: object) -> tuple[int, str]:
    file = write_study(world.folder / "study.toml", **training)
    proposed = done("study", "propose", "--home", world.home("ada"), file, "--yes")
    return proposed["study"], proposed["spec_hash"]


def test_a_built_in_study_is_a_beginning(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    done("study", "new", file, "--from", "heart-disease")
    assert file.read_text(encoding="utf-8") == studies.text("heart-disease")
    assert "exists" in refused("study", "new", file)[1]
    assert (
        "no study that comes with the program" in refused("study", "new", tmp_path / "other.toml", "--from", "flu")[1]
    )
    assert "isn't TOML" in refused("study", "propose", "--home", tmp_path, _garbage(tmp_path))[1]


def _garbage(folder: Path) -> Path:
    (folder / "garbage.toml").write_text("this is no table")
    return folder / "garbage.toml"


def test_a_study_waits_for_every_members_answer(consortium: World) -> None:
    number, spec_hash = propose(consortium)
    bea = ("--home", consortium.home("bea"))
    (listed,) = done("study", "list", *bea)["studies"]
    assert (listed["study"], listed["status"], listed["answer"]) == (number, "proposed", "none")
    assert listed["waits_for"] == "waiting for the answer of ada, bea, cleo"
    accepted = done("study", "accept", *bea, number, "--spec", spec_hash[:8])
    assert (accepted["answer"], accepted["accepted"], accepted["unanswered"]) == ("accepted", ["bea"], ["ada", "cleo"])
    status = done("status", *bea)
    assert (status["node_running"], status["member"]) == (False, True)
    assert status["studies"][0]["waits_for"] == "waiting for the answer of ada, cleo"
    assert status["studies"][0]["until"] > status["studies"][0]["since"] > 0


def test_another_hash_than_the_one_agreed_to_is_not_accepted(consortium: World) -> None:
    number, spec_hash = propose(consortium)
    bea = ("--home", consortium.home("bea"))
    other = f"{int(spec_hash[:8], 16) ^ 1:08x}"
    for wrong in (other, spec_hash[:7], ""):
        assert spec_hash in refused("study", "accept", *bea, number, "--spec", wrong)[1]
    assert "--spec HASH" in refused("study", "accept", *bea, number)[1], "nobody can be asked"
    assert done("study", "list", *bea)["studies"][0]["answer"] == "none"


def test_inspection_says_what_runs_what_leaves_and_what_changed(consortium: World) -> None:
    bea = ("--home", consortium.home("bea"))
    first, spec_hash = propose(consortium)
    done("study", "accept", *bea, first, "--spec", spec_hash)
    second, _ = propose(consortium, rounds=5, learning_rate=0.01)
    look = done("study", "inspect", *bea, second)
    words = {part["about"]: part["says"] for part in look["in_words"]}
    assert "30 columns (mean radius" in words["reads"]
    assert "No record leaves" in words["leaves"]
    assert "each of them sees this site's update" in words["privacy"]
    assert look["agreed_before"] == first
    assert {change["field"]: (change["before"], change["after"]) for change in look["differences"]} == {
        "training.rounds": ("2", "5"),
        "training.learning_rate": ("0.03", "0.01"),
    }
    shown = swarm_node("study", "inspect", *bea, second).stdout
    assert "training.rounds: 2 -> 5" in shown
    assert "policy allows it" in shown


def test_the_policy_has_the_last_word(consortium: World) -> None:
    number, spec_hash = propose(consortium, rounds=5)
    home = consortium.home("cleo")
    (home / "policy.toml").write_text("max_rounds = 3\n")
    assert done("study", "inspect", "--home", home, number)["policy"][0]["rule"] == "max_rounds"
    code, message = refused("study", "accept", "--home", home, number, "--spec", spec_hash)
    assert (code, "max_rounds: its number of rounds is 5" in message) == ("node.study_refused", True)
    (home / "policy.toml").write_text("max_roundz = 3\n")
    assert "max_roundz" in refused("study", "accept", "--home", home, number, "--spec", spec_hash)[1]


def test_data_that_does_not_fit_is_named_before_anything_is_agreed(consortium: World) -> None:
    number, spec_hash = propose(consortium)
    home = consortium.home("cleo")
    config = (home / "config.toml").read_text()
    (home / "patients.csv").write_text("age,label\n3,benign\n")
    (home / "config.toml").write_text(config.split("[data]")[0] + '[data]\nsource = "csv"\npath = "patients.csv"\n')
    code, message = refused("study", "accept", "--home", home, number, "--spec", spec_hash)
    assert code == "node.study_refused"
    assert "patients.csv" in message
    (home / "config.toml").write_text(config.split("[data]")[0])
    assert "config.toml names no data" in refused("study", "accept", "--home", home, number, "--spec", spec_hash)[1]
    assert done("study", "list", "--home", home)["studies"][0]["answer"] == "none"


def test_a_member_declines_on_record(consortium: World) -> None:
    number, _ = propose(consortium)
    answered = done("study", "decline", "--home", consortium.home("bea"), number)
    assert (answered["answer"], answered["declined"]) == ("declined", ["bea"])
    code, _ = refused("study", "decline", "--home", consortium.home("bea"), number)
    assert code == "ledger.contract.study_already_answered"


def test_a_study_of_training_loops_is_agreed_to_without_data_and_said_in_words(consortium: World) -> None:
    file = consortium.folder / "loops.toml"
    Study(loop_spec(training={"max_local_steps": 6}, round={"collect_seconds": 60})).save(file)
    assert StudySpec.from_toml(file.read_text()).model.initial
    proposed = done("study", "propose", "--home", consortium.home("ada"), file, "--yes")
    home = consortium.home("bea")
    config = (home / "config.toml").read_text()
    (home / "config.toml").write_text(config.split("[data]")[0])
    words = {
        one["about"]: one["says"] for one in done("study", "inspect", "--home", home, proposed["study"])["in_words"]
    }
    assert "this site's own training loop" in words["runs"]
    assert "3 rounds of 2 to 6 steps" in words["runs"]
    assert "25 numbers in 8 tensors" in words["runs"]
    answered = done("study", "accept", "--home", home, proposed["study"], "--spec", proposed["spec_hash"])
    assert (answered["answer"], answered["here"]) == ("accepted", None)
    with open_desk(home, signing=False) as desk:
        told = estimate(desk, desk.study(proposed["study"]), loop_spec(), []).says
    assert "training ? (this site's own training loop trains" in told
    code, message = refused("rehearse", "--home", home, file)
    assert (code, "each site's own loop" in message) == ("node.operator", True)


def test_a_model_that_was_brought_is_needed_where_a_study_starts_from_it(consortium: World) -> None:
    module, file = small_module(), consortium.folder / "pretrained.safetensors"
    save(module, file)
    study = Study(loop_spec(module)).starting_from(file)
    study.save(consortium.folder / "fine.toml")
    proposed = study.propose(consortium.home("ada"))
    with pytest.raises(StudyRefused, match="model import"):
        proposed.accept()
    brought = done("model", "import", "--home", consortium.home("ada"), file)
    assert brought == {"model": study.spec.model.initial, "tensors": 8, "numbers": 25}
    assert proposed.accept()["answer"] == "accepted"
    (consortium.folder / "no-model").write_bytes(b"x" * 100)
    assert (
        "model file" in refused("model", "import", "--home", consortium.home("ada"), consortium.folder / "no-model")[1]
    )
    assert "can't bring" in refused("model", "import", "--home", consortium.home("ada"), consortium.folder / "none")[1]


@pytest.mark.parametrize("command", ["inspect", "decline"])
def test_a_study_that_is_not_there_is_said(consortium: World, command: str) -> None:
    assert "there is no study 9" in refused("study", command, "--home", consortium.home("ada"), 9)[1]
