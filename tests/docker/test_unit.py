"""The systemd unit is one that systemd takes, and leaves the node little to do harm with."""

import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from node.cli import main

UNIT = Path(__file__).resolve().parents[2] / "docker" / "swarm-node.service"
PROGRAM = "/opt/swarm-node/bin/swarm-node"


def settings() -> dict[str, list[str]]:
    """Every setting, whatever its section, with its values in order."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit as it would be where the program is installed."""
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text(encoding="utf-8").replace(PROGRAM, "/bin/true"), encoding="utf-8")
    return path


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine")
def test_systemd_finds_no_fault_in_it(installed: Path) -> None:
    checked = subprocess.run(["systemd-analyze", "verify", str(installed)], capture_output=True, text=True)
    assert (checked.returncode, [line for line in checked.stderr.splitlines() if UNIT.name in line]) == (0, [])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("CapabilityBoundingSet", ""),
        ("User", "swarm-node"),
        ("StateDirectory", "swarm-node"),
        ("Restart", "on-failure"),
        ("RestartPreventExitStatus", "2"),
        ("TimeoutStopSec", "60"),
    ],
)
def test_a_setting_is_what_it_should_be(name: str, value: str) -> None:
    assert settings()[name] == [value]


def test_the_password_comes_as_a_credential_and_not_in_the_environment() -> None:
    assert settings()["LoadCredential"] == ["password:/etc/swarm-node/password"]
    assert settings()["Environment"] == ["HOME=/var/lib/swarm-node"]


def test_it_starts_the_site_that_is_in_its_state_directory() -> None:
    (start,) = settings()["ExecStart"]
    program, command, option, home = start.split()
    assert (program, home) == (PROGRAM, "/var/lib/swarm-node")
    assert option in CliRunner().invoke(main, [command, "--help"]).output
