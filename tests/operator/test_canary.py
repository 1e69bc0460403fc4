"""`swarm-node canary`: what is proposed, and what a verdict says of studies that didn't go well."""

from operator_world import NAMES, World, done, refused, swarm_node
from test_study_commands import propose, write_study

from node.operator.canary import canary_of
from swarm import studies
from swarm.spec import StudySpec


def test_a_canary_is_one_round_of_the_same_study_under_its_own_name() -> None:
    spec = studies.draft("breast-cancer").with_initial(b"i" * 32)
    canary = canary_of(spec, 600)
    changed = {
        (section, field)
        for section, fields in spec.model_dump().items()
        if isinstance(fields, dict)
        for field, value in fields.items()
        if canary.model_dump()[section][field] != value
    }
    assert changed == {("study", "name"), ("study", "description"), ("training", "rounds")}
    assert (canary.training.rounds, canary.round.accept_seconds) == (1, 600)
    assert StudySpec.from_json(canary.canonical()) == canary


def test_a_long_name_stays_a_name() -> None:
    record = studies.draft("breast-cancer").model_dump(mode="json")
    record["study"]["name"] = "x" * 64
    assert canary_of(StudySpec.model_validate(record), 600).study.name == "x" * 57 + "-canary"


def test_it_is_proposed_from_a_file_or_a_study_on_the_ledger(consortium: World) -> None:
    ada = ("--home", consortium.home("ada"))
    number, _ = propose(consortium, rounds=5)
    for source in (number, write_study(consortium.folder / "mine.toml", rounds=5)):
        started = done("canary", "start", *ada, source, "--answer-within", 900, "--yes")
        assert (started["of"], started["answer_within_seconds"]) == ("breast-cancer", 900)
        look = done("study", "inspect", *ada, started["study"])
        assert (look["name"], look["rounds"], look["status"]) == ("breast-cancer-canary", 1, "proposed")
    assert "there is no study 99" in refused("canary", "start", *ada, 99, "--yes")[1]
    assert "nobody can be asked" in refused("canary", "start", *ada, number)[1]


def test_a_verdict_waits_for_what_is_not_over(consortium: World) -> None:
    number = done("canary", "start", "--home", consortium.home("ada"), propose(consortium)[0], "--yes")["study"]
    shown = swarm_node("canary", "verdict", "--home", consortium.home("bea"), number)
    assert shown.exit_code == 0
    assert f"not over yet: waiting for the answer of {', '.join(NAMES)}" in shown.stdout
    assert "isn't known yet" in shown.stdout


def test_a_study_that_failed_is_said_to_have_failed(consortium: World) -> None:
    number, spec_hash = propose(consortium)
    ada = ("--home", consortium.home("ada"))
    for name in NAMES:
        done("study", "accept", "--home", consortium.home(name), number, "--spec", spec_hash)
    from node.operator.desk import open_desk

    for name in NAMES:
        with open_desk(consortium.home(name), signing=True) as desk:
            if desk.study(number).status.name == "RUNNING":
                desk.ledger.vote_abort(number)
    code, message = refused("canary", "verdict", *ada, number)
    assert code == "node.unfit"
    assert "ada did not commit to every round" in message
    assert "it did not go well" in swarm_node("canary", "verdict", *ada, number).stdout
