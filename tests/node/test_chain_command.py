"""`swarm-node chain`: each hospital makes its own key, and all of them make the same chain from public keys alone."""

import hashlib
import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ledger.qbft import NodeKey, PublicKey
from node.cli import main

NAMES = ("alpha", "beta", "gamma", "delta")
FAILED, USAGE = 1, 2


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["chain", *map(str, arguments)])


def envelope(*arguments: object) -> tuple[int, dict[str, Any]]:
    outcome = run(*arguments, "--json")
    assert outcome.exception is None or isinstance(outcome.exception, SystemExit), outcome.exception
    (line,) = outcome.stdout.splitlines()
    return outcome.exit_code, json.loads(line)


def succeed(*arguments: object) -> dict[str, Any]:
    exit_code, found = envelope(*arguments)
    assert (exit_code, found["status"], found["code"]) == (0, "ok", "ok"), found
    return dict(found["data"])


def fail(*arguments: object) -> tuple[int, str, str]:
    exit_code, found = envelope(*arguments)
    assert found["status"] == "error"
    return exit_code, found["code"], found["data"]["message"]


def stated() -> list[str]:
    """The options that name four hospitals' validators."""
    keys = {name: NodeKey(name[:1].encode() * 32).public for name in NAMES}
    return [f"--validator={name}=10.0.0.{number}@{keys[name]}" for number, name in enumerate(NAMES, start=1)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- key -------------------------------------------------------------------------------------------------------------


def test_a_key_is_its_owners_only_and_is_never_printed(tmp_path: Path) -> None:
    outcome = run("key", "--out", tmp_path / "validator")
    key = (tmp_path / "validator" / "key").read_text()
    assert stat.S_IMODE((tmp_path / "validator" / "key").stat().st_mode) == 0o600
    assert key.removeprefix("0x") not in outcome.output
    public = NodeKey(bytes.fromhex(key.removeprefix("0x"))).public
    assert outcome.stdout.split() == ["public", "key", str(public), "address", public.address]
    assert (tmp_path / "validator" / "key.pub").read_text() == f"{public}\n"
    assert sorted(contents(tmp_path)) == ["validator/key", "validator/key.pub"]


def test_the_envelope_of_a_key_holds_what_the_others_are_told(tmp_path: Path) -> None:
    data = succeed("key", "--out", tmp_path)
    assert PublicKey.from_hex(data["public_key"]).address == data["address"]
    assert (tmp_path / "key").read_text().removeprefix("0x") not in json.dumps(data)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    succeed("key", "--out", tmp_path)
    before = contents(tmp_path)
    exit_code, code, message = fail("key", "--out", tmp_path)
    assert (exit_code, code) == (FAILED, "node.storage")
    assert "never overwritten" in message
    assert contents(tmp_path) == before


def test_two_keys_differ(tmp_path: Path) -> None:
    assert succeed("key", "--out", tmp_path / "a")["address"] != succeed("key", "--out", tmp_path / "b")["address"]


# -- init ------------------------------------------------------------------------------------------------------------


def test_every_hospital_makes_the_same_bytes_from_public_keys_in_any_order(tmp_path: Path) -> None:
    here = succeed("init", *stated(), "--chain-id", 76_113, "--out", tmp_path / "here")
    there = succeed("init", *reversed(stated()), "--chain-id", 76_113, "--out", tmp_path / "there")
    assert contents(tmp_path / "here") == contents(tmp_path / "there")
    assert here["sha256"] == there["sha256"]
    assert here["survives_faults"] == 1
    assert here["warnings"] == []


def test_a_chain_has_a_folder_for_each_validator_and_no_key(tmp_path: Path) -> None:
    succeed("init", *stated(), "--chain-id", 76_113, "--out", tmp_path)
    per_validator = {"static-nodes.json", "permissions_config.toml", "config.toml"}
    expected = {f"{name}/{file}" for name in NAMES for file in per_validator} | {"genesis.json", "SHA256SUMS"}
    assert contents(tmp_path).keys() == expected


def test_the_hash_to_compare_is_that_of_the_checksums_which_the_usual_tool_reads(tmp_path: Path) -> None:
    data = succeed("init", *stated(), "--chain-id", 76_113, "--out", tmp_path)
    assert hashlib.sha256((tmp_path / "SHA256SUMS").read_bytes()).hexdigest() == data["sha256"]
    subprocess.run(["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"], cwd=tmp_path, check=True)


def test_making_the_same_chain_again_changes_nothing_and_another_one_is_refused(tmp_path: Path) -> None:
    succeed("init", *stated(), "--chain-id", 76_113, "--out", tmp_path)
    before = contents(tmp_path)
    succeed("init", *stated(), "--chain-id", 76_113, "--out", tmp_path)
    exit_code, code, message = fail("init", *stated(), "--chain-id", 76_114, "--out", tmp_path)
    assert (exit_code, code) == (FAILED, "node.storage")
    assert "genesis.json" in message
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--chain-id", 1, "--validator", "alpha=10.0.0.1@12"], "alpha"),
        (["--chain-id", 1, *stated()], "Ethereum"),
        (["--chain-id", 76_113, "--block-seconds", 0, *stated()], "seconds"),
        (["--chain-id", 76_113, "--account", "me", *stated()], "account"),
        (["--chain-id", 76_113], "--validator"),
        (["--chain-id", 76_113, "--validators", 4, *stated()], "not both"),
        (["--chain-id", 76_113, "--validators", 2, "--host-pattern", "no host"], "no host"),
    ],
)
def test_what_makes_no_chain_is_refused_before_anything_is_written(
    tmp_path: Path, arguments: list[object], said: str
) -> None:
    exit_code, code, message = fail("init", *arguments, "--out", tmp_path / "out")
    assert exit_code == USAGE
    assert code in {"ledger.qbft_invalid", "node.configuration"}
    assert said in message
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for arguments in (["init", *stated(), "--chain-id", 76_113], ["key"]):
        exit_code, code, message = fail(*arguments, "--out", tmp_path / "file")
        assert (exit_code, code) == (FAILED, "node.storage")
        assert str(tmp_path / "file") in message


# -- rehearsal -------------------------------------------------------------------------------------------------------


def test_a_rehearsal_draws_every_key_and_says_that_one_hand_holds_them(tmp_path: Path) -> None:
    data = succeed("init", "--validators", 4, "--chain-id", 76_113, "--out", tmp_path)
    assert any("one hand" in warning for warning in data["warnings"])
    for validator in data["validators"]:
        path = tmp_path / validator["name"] / "key"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        key = NodeKey(bytes.fromhex(path.read_text().removeprefix("0x")))
        assert key.public.address == validator["address"]
    ports = {validator["enode"].rpartition(":")[2] for validator in data["validators"]}
    assert ports == {"30303", "30304", "30305", "30306"}


def test_a_host_pattern_gives_each_validator_a_host_of_its_own(tmp_path: Path) -> None:
    pattern = "validator-{n}.example"
    data = succeed("init", "--validators", 2, "--host-pattern", pattern, "--chain-id", 76_113, "--out", tmp_path)
    places = {validator["enode"].rpartition("@")[2] for validator in data["validators"]}
    assert places == {"validator-1.example:30303", "validator-2.example:30303"}


def test_a_rehearsal_overwrites_neither_a_chain_nor_a_key(tmp_path: Path) -> None:
    succeed("init", "--validators", 4, "--chain-id", 76_113, "--out", tmp_path)
    before = contents(tmp_path)
    assert fail("init", "--validators", 4, "--chain-id", 76_113, "--out", tmp_path)[1] == "node.storage"
    assert contents(tmp_path) == before
    succeed("key", "--out", tmp_path / "other" / "validator-2")
    assert fail("init", "--validators", 2, "--chain-id", 76_113, "--out", tmp_path / "other")[1] == "node.storage"
    assert sorted(contents(tmp_path / "other")) == ["validator-2/key", "validator-2/key.pub"]


def test_fewer_than_four_validators_are_warned_about(tmp_path: Path) -> None:
    outcome = run("init", "--validators", 3, "--chain-id", 76_113, "--out", tmp_path)
    assert outcome.exit_code == 0
    assert "warning: 3 of 4 validators" in outcome.stderr


@pytest.mark.parametrize("command", ["key", "init"])
def test_help_shows_an_example(command: str) -> None:
    shown = run(command, "--help").output
    assert f"Example: swarm-node chain {command} " in shown
    assert "--json" in shown
