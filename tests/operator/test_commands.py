"""What holds for every command."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from operator_world import envelope, swarm_node

from node.cli import main


def commands(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name), command


COMMANDS = dict(commands(main))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_it_shows_an_example_of_itself_and_answers_programs(words: tuple[str, ...]) -> None:
    shown = swarm_node(*words, "--help")
    assert shown.exit_code == 0
    assert f"Example: swarm-node {' '.join(words)}" in shown.stdout
    assert any(parameter.name == "as_json" for parameter in COMMANDS[words].params)


# `init` makes such a folder, and `doctor` says what it lacks.
AT_HOME = [words for words, command in COMMANDS.items() if "home" in {one.name for one in command.params}]
ARGUMENTS = {
    ("vote",): ["1", "--approve"],
    ("remove",): ["x", "--reason", "x"],
    ("rehearse",): ["1"],
    ("canary", "start"): ["1", "--yes"],
    ("canary", "verdict"): ["1"],
    ("study", "propose"): [__file__],
    ("study", "inspect"): ["1"],
    ("study", "accept"): ["1", "--spec", "00000000"],
    ("study", "decline"): ["1"],
    ("model", "verify"): [__file__],
    ("model", "import"): [__file__],
    ("model", "export"): ["1"],
    ("audit", "export"): ["1"],
    ("model", "pull"): ["1"],
    ("token", "revoke"): ["3f9a"],
    ("data", "check"): ["--study", "breast-cancer"],
}


@pytest.mark.parametrize("words", [words for words in AT_HOME if words not in {("init",), ("doctor",)}], ids=" ".join)
def test_a_folder_that_is_no_sites_is_said_and_nothing_is_made(words: tuple[str, ...], tmp_path: Path) -> None:
    code, answer = envelope(*words, "--home", tmp_path / "none", *ARGUMENTS.get(words, []))
    assert code in (1, 2)
    assert answer["data"]["message"]
    assert not (tmp_path / "none").exists()


def test_a_shell_can_complete_it() -> None:
    environment = {
        **os.environ,
        "_SWARM_NODE_COMPLETE": "bash_complete",
        "COMP_WORDS": "swarm-node study a",
        "COMP_CWORD": "2",
    }
    program = "import sys; sys.argv = ['swarm-node']; from node.cli import main; main(prog_name='swarm-node')"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["plain,accept"]
