"""`swarm-node demo` as a newcomer runs it: real processes, a real chain, real libp2p."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.swarm.learning_samples import heart_disease_folder

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "node.cli", "demo", "--json"]
PATIENCE = 420
METRICS = {"accuracy", "balanced_accuracy", "auc", "log_loss"}


def demo(out: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    """Run a demo to its end; give its exit code, its envelope and its progress."""
    done = subprocess.run([*COMMAND, "--out", str(out), *options], capture_output=True, text=True, timeout=PATIENCE)
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stderr


@contextmanager
def started(out: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [*COMMAND, "--out", str(out), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def until_round(process: subprocess.Popen[str], number: int | None) -> None:
    """Read a demo's progress up to the line that says how a round ended: this one, or whichever comes first."""
    assert process.stderr is not None
    wanted = "round " if number is None else f"round {number:>3}: "
    assert any(line.startswith(wanted) for line in process.stderr), "the demo ended before"


def left_behind(out: Path) -> list[int]:
    """Processes that still know the demo's folder, from their command line or as their open files."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if process.pid != os.getpid() and any(str(out) in word for word in words):
            found.append(process.pid)
    return found


def test_a_swarm_survives_its_leader_and_tells_the_whole_story(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    code, envelope, progress = demo(out, "--rounds", "4", "--kill-leader", "2")
    assert code == 0, (envelope, progress)
    assert (envelope["schema"], envelope["status"], envelope["code"]) == (1, "ok", "ok")
    data = envelope["data"]
    assert data["study"]["status"] == "finished"
    assert [one["number"] for one in data["rounds"]] == [0, 1, 2, 3, 4]
    killed, *_ = data["rounds"][2]["terms"]
    assert killed["fault"] == "merge_timeout"
    assert data["rounds"][2]["leader"] != killed["leader"]
    assert data["rounds"][2]["output"] is not None
    assert data["rounds"][4]["output"] == data["final_model"]
    for site in data["sites"]:
        assert site["samples"] > 0
        assert len(site["address"]) == 42
        assert all(site[model].keys() >= METRICS for model in ("local", "swarm", "pooled"))
    assert data["ledger"]["transactions"] > 25
    assert data["ledger"]["gas"] > 0
    assert set(data["ledger"]["contracts"]) == {"consortium", "study"}
    for one in data["rounds"]:
        assert set(one["seconds"]) == {"collecting", "merging", "reviewing"}
        assert one["committed"]
    assert all(Path(path).exists() for path in data["files"].values())
    assert Path(data["files"]["plot"]).read_bytes().startswith(b"\x89PNG")
    assert left_behind(out) == []


def test_a_demo_that_was_interrupted_or_killed_leaves_no_process_and_is_resumed(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    with started(out, "--rounds", "25") as process:
        until_round(process, 2)
        process.send_signal(signal.SIGINT)
        answer, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert json.loads(answer.splitlines()[-1])["code"] == "interrupted"
    assert left_behind(out) == []
    with started(out, "--resume") as process:
        until_round(process, None)
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    gone, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []
    assert len(gone) >= 9  # a chain, four sites and their training processes
    code, envelope, progress = demo(out, "--resume")
    assert code == 0, (envelope, progress)
    assert envelope["data"]["study"]["status"] == "finished"
    assert [one["number"] for one in envelope["data"]["rounds"]] == list(range(26))
    assert all(one["output"] for one in envelope["data"]["rounds"])


def test_the_four_hospitals_of_heart_disease_beat_the_published_figures(tmp_path: Path) -> None:
    folder = heart_disease_folder()
    code, envelope, progress = demo(tmp_path / "demo", "--data", "heart-disease", "--path", str(folder))
    assert code == 0, (envelope, progress)
    sites = envelope["data"]["sites"]
    assert {site["name"] for site in sites} == {"cleveland", "hungarian", "switzerland", "va"}
    assert sum(site["swarm"]["accuracy"] for site in sites) / 4 >= 0.78


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--data", "heart-disease"], "node.demo"),
        (["--data", "heart-disease", "--path", "/nonexistent"], "swarm.data"),
        (["--resume"], "node.demo"),
        (["--rounds", "3", "--kill-leader", "4"], "node.demo"),
    ],
)
def test_what_can_not_be_run_is_said_before_anything_starts(tmp_path: Path, options: list[str], code: str) -> None:
    out = tmp_path / "demo"
    exit_code, envelope, _ = demo(out, *options)
    assert exit_code == 1
    assert (envelope["status"], envelope["code"]) == ("error", code)
    assert envelope["data"]["message"]
    assert left_behind(out) == []


def test_an_earlier_demo_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text("{}")
    _, envelope, _ = demo(tmp_path)
    assert "--resume" in envelope["data"]["message"]
    assert (tmp_path / "demo.json").read_text() == "{}"
