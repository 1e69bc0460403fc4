"""What docker/README.md tells an operator to type is there to be typed."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from node.cli import main

DOCKER = Path(__file__).resolve().parents[2] / "docker"
TEXT = (DOCKER / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", re.findall(r"swarm-node (chain \w+[^`\n]*)", TEXT))
def test_commands_and_options_exist(command: str) -> None:
    words = command.split()
    shown = CliRunner().invoke(main, [*words[:2], "--help"])
    assert shown.exit_code == 0
    assert [word for word in words if word.startswith("--") and word not in shown.output] == []


def test_every_file_beside_it_is_described() -> None:
    described = set(re.findall(r"^\| `([^`]+)` \|", TEXT, re.MULTILINE))
    assert described == {path.name for path in DOCKER.iterdir() if path.is_file()} - {"README.md", "consortium.env"}
