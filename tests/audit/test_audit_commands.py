"""`swarm-node audit`, as an auditor and a member type it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from audit_world import World
from click.testing import CliRunner

from node import config
from node.cli import main
from node.config import NodeConfig
from node.site_folder import SiteFolder
from swarm.folder_store import FolderStore
from swarm.model_file import export_safetensors


def type_in(*words: object) -> tuple[int, Any]:
    """Run a command with --json; gives its exit code and envelope."""
    done = CliRunner().invoke(main, [*map(str, words), "--json"])
    return done.exit_code, json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def home(world: World, tmp_path: Path) -> Path:
    """A member's folder: its configuration, the deployment, and the blobs that it has kept."""
    folder = SiteFolder(tmp_path / "site")
    folder.home.mkdir()
    settings = NodeConfig(name="Bonn", rpc=world.devnet.ipc, dev=True)
    folder.config.write_bytes(config.render(settings))
    world.deployment.save(folder.deployment)
    store = FolderStore(folder.blobs)
    for blob in world.store.blobs():
        manifest = world.store.manifest(blob)
        chunks = [world.store.read_chunk(blob, index) for index in range(len(manifest.chunks))]
        store.create(manifest.kind, manifest.dtype, manifest.tensors, chunks, scale_bits=manifest.scale_bits)
    return folder.home


@pytest.fixture
def model(world: World, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    export_safetensors(world.store, world.view().last_final, path)
    return path


def test_a_member_tells_a_hash_another_exports_and_the_auditor_checks(home: Path, model: Path, tmp_path: Path) -> None:
    code, told = type_in("audit", "block", "--home", home)
    assert code == 0
    file = tmp_path / "study.audit"
    code, exported = type_in("audit", "export", "1", "--home", home, "--blobs", "--out", file)
    assert (code, exported["data"]["file"]) == (0, str(file))
    reports = tmp_path / "report.html", tmp_path / "report.pdf"
    shutil.rmtree(home)  # what follows needs no site
    options = ["--model", model, "--block", told["data"]["hash"], "--report", reports[0], "--report", reports[1]]
    code, verdict = type_in("audit", "verify", file, *options)
    assert (code, verdict["status"], verdict["data"]["conclusion"]) == (0, "ok", "holds")
    assert [one["outcome"] for one in verdict["data"]["rules"] if one["rule"] == "merge"] == ["holds"]
    assert reports[0].read_text().startswith("<!doctype html>")
    assert reports[1].read_bytes().startswith(b"%PDF")


def test_a_wrong_model_fails_and_says_so_with_the_whole_verdict(home: Path, model: Path, tmp_path: Path) -> None:
    file = tmp_path / "study.audit"
    _, told = type_in("audit", "block", "--home", home)
    type_in("audit", "export", "1", "--home", home, "--out", file)
    changed = bytearray(model.read_bytes())
    changed[-2] ^= 1
    model.write_bytes(changed)
    code, verdict = type_in("audit", "verify", file, "--model", model, "--block", told["data"]["hash"])
    assert (code, verdict["code"]) == (1, "ledger.audit_failed")
    assert verdict["data"]["sentence"] == "BROKEN: model"
    assert len(verdict["data"]["rules"]) > 20


def test_words_for_a_person_end_with_the_verdict(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "study.audit"
    type_in("audit", "export", "1", "--home", home, "--out", file)
    done = CliRunner().invoke(main, ["audit", "verify", str(file)])
    assert done.exit_code == 1
    assert "UNPROVEN" in done.stderr
    assert "transitions" in done.stdout


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--block", "0x12"], "node.configuration"),
        (["--block", "z" * 64], "node.configuration"),
        (["--report", "report.docx"], "node.configuration"),
        (["--model", "nowhere.safetensors"], "node.operator"),
    ],
)
def test_what_can_not_be_meant_is_refused(options: list[str], code: str, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "study.audit"
    type_in("audit", "export", "1", "--home", home, "--out", file)
    exit_code, answer = type_in("audit", "verify", file, *options)
    assert answer["code"] == code
    assert exit_code == (2 if code == "node.configuration" else 1)


def test_a_file_is_never_overwritten(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_text("mine")
    code, answer = type_in("audit", "export", "1", "--home", home, "--out", file)
    assert (code, answer["code"]) == (1, "node.operator")
    assert file.read_text() == "mine"


def test_a_study_that_is_not_there_is_said(home: Path, tmp_path: Path) -> None:
    code, answer = type_in("audit", "export", "8", "--home", home, "--out", tmp_path / "study.audit")
    assert (code, answer["code"]) == (1, "ledger.bundle_unmakeable")
