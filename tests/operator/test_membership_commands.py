"""Founding, joining, voting, leaving and removing, as operators type it."""

import threading
from pathlib import Path

import pytest
from operator_world import NAMES, World, done, refused, swarm_node

from ledger.devnet import Devnet
from node.operator.desk import open_desk
from node.operator.membership import vote
from node.site_folder import SiteFolder


def test_founders_are_members_at_once_and_hand_the_file_on(world: World) -> None:
    world.found("ada", "bea")
    listed = done("members", "--home", world.home("bea"))
    assert [(member["name"], member["me"]) for member in listed["members"]] == [("ada", False), ("bea", True)]
    assert (listed["threshold"], listed["motions"], listed["former"]) == (2, [], [])
    assert world.deployment.read_bytes() == SiteFolder(world.home("bea")).deployment.read_bytes()


def test_a_site_joins_by_the_votes_of_the_members(world: World) -> None:
    world.found("ada", "bea")
    account = world.new_site("cleo")
    cleo = ("--home", world.home("cleo"))
    applied = done("join", *cleo, "--deployment", world.deployment, "--no-wait")
    assert (applied["member"], applied["address"]) == (False, account)
    motion = applied["motion"]
    assert done("join", *cleo, "--no-wait")["motion"] == motion, "an open application is taken up again"
    (open_motion,) = done("members", *cleo)["motions"]
    assert (open_motion["name"], open_motion["not_voted"]) == ("cleo", ["ada", "bea"])
    assert done("vote", "--home", world.home("ada"), motion, "--approve")["state"] == "open"
    assert done("vote", "--home", world.home("bea"), motion, "--approve")["state"] == "passed"
    assert done("join", *cleo)["member"] is True


@pytest.mark.parametrize("approve", [True, False])
def test_an_applicant_waits_for_the_decision_and_is_told_who_voted(world: World, approve: bool) -> None:
    world.found("ada")
    world.new_site("cleo")
    answers = []

    def apply() -> None:
        answers.append(swarm_node("join", "--home", world.home("cleo"), "--deployment", world.deployment))

    waiting = threading.Thread(target=apply)
    waiting.start()
    with open_desk(world.home("ada"), signing=True) as desk:  # not a second command: the first one holds the output
        while not desk.consortium.open_motions:
            desk.catch_up()
        (motion,) = desk.consortium.open_motions
        vote(desk, motion, approve=approve)
    waiting.join()
    (answer,) = answers
    assert answer.exit_code == (0 if approve else 1)
    assert ("ada approves" if approve else "ada refuses") in answer.stderr
    assert ("is a member" in answer.stdout) == approve
    assert ("did not admit" in answer.stderr) != approve


def test_an_application_that_nobody_answers_in_time_expires(tmp_path: Path) -> None:
    with Devnet.start(tmp_path / "own-chain") as devnet:  # its clock is moved, which the other tests' must not be
        world = World(devnet, tmp_path)
        world.found("ada", motion_days=0.001)  # 86 s of chain time
        world.new_site("cleo")
        cleo = ("--home", world.home("cleo"))
        done("join", *cleo, "--deployment", world.deployment, "--no-wait")
        devnet.advance(200)
        code, message = refused("join", *cleo)
    assert code == "node.operator"
    assert "did not admit" in message


def test_members_remove_one_of_them_and_one_leaves(consortium: World) -> None:
    homes = {name: ("--home", consortium.home(name)) for name in NAMES}
    motion = done("remove", *homes["ada"], "cleo", "--reason", "its key was stolen")
    assert (motion["kind"], motion["approved"], motion["not_voted"]) == ("remove", ["ada"], ["bea", "cleo"])
    assert motion["reason"] == "its key was stolen"
    done("vote", *homes["bea"], motion["motion"], "--approve")
    # two thirds of three are 2.0001: the third vote would be cleo's own
    done("vote", *homes["cleo"], motion["motion"], "--approve")
    done("leave", *homes["bea"], "--yes")
    listed = done("members", *homes["ada"])
    assert [member["name"] for member in listed["members"]] == ["ada"]
    assert {former["name"] for former in listed["former"]} == {"bea", "cleo"}


def test_what_can_not_be_done_is_said_with_what_to_do(consortium: World) -> None:
    ada = ("--home", consortium.home("ada"))
    assert "swarm-node members" in refused("vote", *ada, 77, "--approve")[1]
    assert "no member is called 'dora'" in refused("remove", *ada, "dora", "--reason", "why not")[1]
    assert refused("leave", *ada)[0] == "node.configuration", "nobody can be asked"
    assert "belongs to a consortium already" in refused("found", *ada)[1]


def test_a_site_belongs_to_one_consortium(world: World) -> None:
    world.found("ada", "bea")
    world.new_site("solo")
    done("found", "--home", world.home("solo"))
    code, message = refused("join", "--home", world.home("solo"), "--deployment", world.deployment)
    assert (code, "another consortium's" in message) == ("node.operator", True)


@pytest.mark.parametrize("founder", ["bea", "bea=0x12", "=0x52908400098527886E0F7030069857D2E4169EE7"])
def test_a_founder_that_is_not_one_is_named(world: World, founder: str) -> None:
    world.new_site("ada")
    code, message = refused("found", "--home", world.home("ada"), "--founder", founder)
    assert (code, founder in message) == ("node.configuration", True)
    assert not SiteFolder(world.home("ada")).deployment.exists()


def test_a_strangers_name_does_nothing_to_the_terminal(world: World) -> None:
    world.found("ada")
    world.new_site("cleo")
    (world.home("cleo") / "deployment.json").write_bytes(world.deployment.read_bytes())
    with open_desk(world.home("cleo"), signing=True) as desk:
        number, _ = desk.ledger.request_membership("\x1b[2Jeve\u202e\r[bold]")
    ada = ("--home", world.home("ada"))
    for command in (("members", *ada), ("vote", *ada, number, "--approve"), ("members", *ada)):
        shown = swarm_node(*command)
        assert shown.exit_code == 0
        assert "eve" in shown.stdout
        assert not set(shown.stdout) & {"\x1b", "\u202e", "\r"}
        assert "[bold]" in shown.stdout.replace("\n", "").replace(" ", "")


def test_results_in_words_say_what_the_envelope_says(world: World) -> None:
    world.found("ada", "bea")
    shown = swarm_node("members", "--home", world.home("ada"))
    assert shown.exit_code == 0
    assert "ada (this site)" in shown.stdout
    assert "a motion needs 2 approvals" in shown.stdout
