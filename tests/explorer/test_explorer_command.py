"""`swarm-node explorer` as an auditor's IT starts it."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from ledger.client import Ledger
from ledger.deployment import deploy
from ledger.devnet import Devnet
from ledger.rpc import connect
from ledger.types import Founder
from node.cli import main
from tests.ledger.ledger_world import account


def answer(*words: str | Path) -> tuple[int, dict]:
    done = CliRunner().invoke(main, ["explorer", "--json", *map(str, words)], env={"SWARM_HOME": ""})
    return done.exit_code, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "--home"),
        (["--rpc", "http://127.0.0.1:1"], "--deployment and --rpc"),
        (["--deployment", "x.json"], "--deployment and --rpc"),
        (["--home", "nowhere", "--listen", "0.0.0.0:0"], "--certificate"),
        (
            ["--home", "nowhere", "--listen", "0.0.0.0:0", "--behind-proxy"],
            "--host",
        ),
        (["--home", "nowhere"], "neither a site's folder"),
    ],
)
def test_what_can_not_be_served_is_said_before_anything_opens(words: list[str], named: str) -> None:
    code, told = answer(*words)
    assert code == 2
    assert named in told["data"]["message"]


@pytest.mark.parametrize(
    "words",
    [
        ["--listen", "8600"],
        ["--listen", "127.0.0.1:x"],
        ["--certificate", "c.pem"],
        ["--deployment", "none.json", "--rpc", "http://127.0.0.1:1"],
    ],
)
def test_a_wrong_option_is_an_error_with_a_code(words: list[str], tmp_path: Path) -> None:
    code, told = answer("--home", tmp_path, *words)
    assert code in (1, 2)
    assert told["code"].startswith(("ledger.", "node."))


@pytest.mark.slow
def test_it_needs_a_deployment_and_a_node_and_nothing_else_and_ends_in_order(tmp_path: Path) -> None:
    founders = [Founder(account(number).address, f"site {number}") for number in range(3)]
    with Devnet.start(tmp_path / "chain") as devnet, connect(devnet.url) as rpc:
        deployment = deploy(rpc, account(0), founders, 6667, 3600)
        folder = tmp_path / "auditor"
        folder.mkdir()
        deployment.save(folder / "deployment.json")
        command = [sys.executable, "-m", "node.cli", "explorer", "--json", "--listen", "127.0.0.1:0"]
        where = ["--deployment", "deployment.json", "--rpc", devnet.url, "--provisional", "0"]
        root = Path(__file__).resolve().parents[2]
        with subprocess.Popen(
            [*command, *where],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"},
        ) as process:
            try:
                assert process.stderr is not None
                url = next(line.split()[1] for line in process.stderr if line.startswith("explorer: "))
                names = [one["name"] for one in await_members(url)]
                assert names == ["site 0", "site 1", "site 2"]
                assert "development chain" in httpx.get(url).text
                assert Ledger(rpc, deployment).head().number >= 1
                process.send_signal(signal.SIGTERM)
                out, _ = process.communicate(timeout=300)
            finally:
                process.kill()
    told = json.loads(out.splitlines()[-1])
    assert (process.returncode, told["status"]) == (0, "ok")
    assert told["data"]["events"] == 4
    assert {path.name.split("-")[0] for path in folder.iterdir()} == {"deployment.json", "explorer.sqlite"}


def await_members(url: str) -> list[dict]:
    """Wait until the service has read the founding."""
    with httpx.Client(base_url=url, timeout=300) as client:
        while not (found := client.get("/api/v1/consortium").json()["members"]):
            with client.stream("GET", "/api/v1/live") as told:
                next(line for line in told.iter_lines() if '"events": 4' in line)
        return found
