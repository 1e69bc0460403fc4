"""The compose files say what they promise: pinned images, no privileges, and an RPC that no other machine reaches."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from ledger.qbft import Chain, NodeKey, Validator, chain_files
from node.cli import main

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
FILES = ["compose.devnet.yaml", "compose.consortium.yaml"]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

# Of the compose specification's attributes, those that these files use.
TOP = {"name", "services", "secrets", "volumes"}
SERVICE = {
    "build",
    "cap_drop",
    "command",
    "depends_on",
    "environment",
    "healthcheck",
    "image",
    "network_mode",
    "profiles",
    "restart",
    "secrets",
    "security_opt",
    "stop_grace_period",
    "user",
    "volumes",
}


def compose(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((DOCKER / name).read_text(encoding="utf-8")))


def services() -> list[Any]:
    return [
        pytest.param(file, name, service, id=f"{file}-{name}")
        for file in FILES
        for name, service in compose(file)["services"].items()
    ]


def service(file: str, name: str) -> dict[str, Any]:
    return dict(compose(file)["services"][name])


@pytest.mark.parametrize("file", FILES)
def test_a_file_has_known_parts_that_refer_to_each_other(file: str) -> None:
    whole = compose(file)
    assert {part for part in whole if not part.startswith("x-")} <= TOP
    for one in whole["services"].values():
        assert set(one.get("secrets", [])) <= whole.get("secrets", {}).keys()
        assert set(one.get("depends_on", [])) <= whole["services"].keys()
        named = {volume.split(":")[0] for volume in one.get("volumes", []) if isinstance(volume, str)}
        assert named <= whole.get("volumes", {}).keys()
    used = {secret for one in whole["services"].values() for secret in one.get("secrets", [])}
    assert used == whole.get("secrets", {}).keys()


@pytest.mark.parametrize(("file", "name", "described"), services())
def test_a_service_is_pinned_and_has_no_privileges(file: str, name: str, described: dict[str, Any]) -> None:
    assert described.keys() <= SERVICE
    assert re.search(r":\d+\.\d+\.\d+$", described["image"])
    assert described["cap_drop"] == ["ALL"]
    assert described["security_opt"] == ["no-new-privileges:true"]
    assert "docker.sock" not in str(described)


@pytest.mark.parametrize(("file", "name", "described"), services())
def test_no_port_is_published(file: str, name: str, described: dict[str, Any]) -> None:
    assert "ports" not in described  # on the host's network, Besu's options and the site's say what listens where


@pytest.mark.parametrize(("file", "name", "described"), services())
def test_our_image_is_this_version_and_runs_a_command_that_exists(
    file: str, name: str, described: dict[str, Any]
) -> None:
    if described["image"].startswith("hyperledger/"):
        assert described["image"] == "hyperledger/besu:26.9.0"
        return
    assert described["image"].endswith(f":{VERSION}")
    assert (DOCKER / described["build"]["context"]).resolve() == ROOT
    assert (ROOT / described["build"]["dockerfile"]).is_file()
    assert f" AS {described['build']['target']}\n" in (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    words = [word for word in described["command"] if not word.startswith(("-", "/", "8"))]
    shown = CliRunner().invoke(main, [*words, "--help"]).output
    assert [word for word in described["command"] if word.startswith("--") and word not in shown] == []


@pytest.mark.parametrize(("file", "name", "described"), services())
def test_a_folder_of_the_host_must_be_there(file: str, name: str, described: dict[str, Any]) -> None:
    binds = [volume for volume in described.get("volumes", []) if not isinstance(volume, str)]
    assert [bind for bind in binds if bind["type"] != "bind" or bind["bind"] != {"create_host_path": False}] == []


def test_the_folders_that_besu_reads_are_where_its_options_look_for_them() -> None:
    besu = service("compose.consortium.yaml", "besu")
    targets = {volume["target"]: volume.get("read_only", False) for volume in besu["volumes"]}
    assert targets == {"/etc/besu": True, "/var/lib/besu": False}
    mine = Validator("alpha", "10.0.0.1", 30303, NodeKey(b"\1" * 32).public)
    files = chain_files(Chain(76_113, 2, (mine,)))
    options = tomllib.loads(files["alpha/config.toml"].decode())
    paths = {name: value for name, value in options.items() if name.endswith("-file")}
    assert paths.pop("node-private-key-file") == "/etc/besu/alpha/key"  # the command line names the secret instead
    assert all(path.removeprefix("/etc/besu/") in files for path in paths.values())
    assert options["data-path"].startswith("/var/lib/besu/")


def test_what_the_command_line_gives_besu_is_among_its_documented_options() -> None:
    command = service("compose.consortium.yaml", "besu")["command"]
    given = dict(word.removeprefix("--").split("=", 1) for word in command)
    assert given.keys() == {"config-file", "node-private-key-file", "rpc-http-host"}
    assert given["rpc-http-host"] == "127.0.0.1"
    assert given["config-file"].endswith("/config.toml")
    assert given["node-private-key-file"] == "/run/secrets/validator_key"


def test_keys_and_passwords_are_secrets_from_files_that_the_operator_names() -> None:
    whole = compose("compose.consortium.yaml")
    assert whole["secrets"].keys() == {"validator_key", "site_password"}
    assert all(secret["file"].startswith("${") for secret in whole["secrets"].values())
    assert whole["services"]["besu"]["secrets"] == ["validator_key"]
    assert whole["services"]["site"]["secrets"] == ["site_password"]
    assert not re.search(r"password|key", str([one.get("environment", {}) for one in whole["services"].values()]), re.I)


def test_a_hospitals_pair_comes_back_after_a_crash() -> None:
    for one in compose("compose.consortium.yaml")["services"].values():
        assert one["restart"] == "unless-stopped"
        assert one["stop_grace_period"] == "60s"
        assert one["network_mode"] == "host"


def test_a_site_in_a_rehearsal_is_asked_whether_it_is_of_use() -> None:
    kind, command = service("compose.devnet.yaml", "site")["healthcheck"]["test"]
    words = command.removesuffix(" || exit 1").split()
    assert (kind, words[:2]) == ("CMD-SHELL", ["swarm-node", "health"])
    assert words[2:] == service("compose.devnet.yaml", "site")["command"][1:]
    assert "health" in main.commands


def test_the_example_of_the_environment_sets_exactly_what_is_asked_for() -> None:
    asked = set(re.findall(r"\$\{(\w+)", (DOCKER / "compose.consortium.yaml").read_text(encoding="utf-8")))
    example = (DOCKER / "consortium.env.example").read_text(encoding="utf-8")
    assert set(re.findall(r"^(\w+)=.+$", example, re.MULTILINE)) == asked


def test_nothing_that_the_rehearsal_may_lack_stops_its_other_services() -> None:
    text = (DOCKER / "compose.devnet.yaml").read_text(encoding="utf-8")
    assert ":?" not in text  # compose fills in the whole file, whichever service is started
