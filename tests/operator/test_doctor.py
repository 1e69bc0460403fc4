"""`swarm-node doctor`: each thing that keeps a site from taking part is named, and what is well is said too."""

import socket
from pathlib import Path
from typing import Any

import pytest
from member_online import online
from operator_world import World, envelope, swarm_node

from node.operator import peers
from node.version import PROTOCOL, SOFTWARE

CHECKS = [
    "disk",
    "memory",
    "gpu",
    "configuration",
    "policy",
    "key",
    "chain",
    "clock",
    "membership",
    "data",
    "port",
    "peers",
]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "PATIENCE", 0.2)


def doctor(home: Path) -> tuple[int, dict[str, tuple[str, str]]]:
    """Exit code, and verdict and words of each check."""
    code, answer = envelope("doctor", "--home", home)
    data: dict[str, Any] = answer["data"]
    assert data["fit"] == (code == 0)
    return code, {one["check"]: (one["verdict"], one["says"]) for one in data["checks"]}


def change(home: Path, before: str, after: str) -> None:
    text = (home / "config.toml").read_text()
    assert before in text
    (home / "config.toml").write_text(text.replace(before, after))


def test_a_member_is_fit_though_the_others_are_away(world: World) -> None:
    world.found("ada", "bea")
    code, found = doctor(world.home("ada"))
    assert (code, list(found)) == (0, CHECKS)
    assert {check for check, (verdict, _) in found.items() if verdict != "ok"} == {"peers"}
    assert found["peers"] == ("warning", "bea has published no address yet")


def test_a_site_that_is_no_member_is_told_to_join(world: World) -> None:
    world.found("ada")
    world.new_site("cleo")
    (world.home("cleo") / "deployment.json").write_bytes(world.deployment.read_bytes())
    code, found = doctor(world.home("cleo"))
    assert code == 1
    assert found["membership"][0] == "failed"
    assert "swarm-node join" in found["membership"][1]
    assert found["peers"][0] == "skipped"


def test_a_port_in_use_is_named(world: World) -> None:
    world.found("ada", "bea")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        change(world.home("ada"), 'name = "ada"', f'name = "ada"\nlisten = "/ip4/127.0.0.1/tcp/{port}"')
        code, found = doctor(world.home("ada"))
    assert (code, found["port"][0]) == (1, "failed")
    assert str(port) in found["port"][1]


@pytest.mark.parametrize(
    ("file", "content", "check"),
    [
        ("config.toml", "name = 3", "configuration"),
        ("policy.toml", "max_rounds = -1", "policy"),
        ("password", "another password", "key"),
        ("deployment.json", "{}", "chain"),
    ],
)
def test_a_file_that_is_wrong_is_named(world: World, file: str, content: str, check: str) -> None:
    world.found("ada")
    (world.home("ada") / file).write_text(content)
    code, found = doctor(world.home("ada"))
    assert code == 1
    assert [name for name, (verdict, _) in found.items() if verdict == "failed"] == [check]
    result = swarm_node("doctor", "--home", world.home("ada"))
    assert f"see to: {check}" in result.stderr
    assert "failed" in result.stdout


def test_a_chain_that_does_not_answer_is_named(world: World) -> None:
    world.found("ada")
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    change(world.home("ada"), f'rpc = "{world.devnet.ipc}"', f'rpc = "http://user:secret@127.0.0.1:{port}"')
    code, found = doctor(world.home("ada"))
    assert (code, found["chain"][0], found["peers"][0]) == (1, "failed", "skipped")
    assert str(port) in found["chain"][1]
    assert "secret" not in found["chain"][1]


def test_data_that_does_not_fit_an_open_study_is_named(world: World) -> None:
    world.found("ada", "bea")
    home = world.home("ada")
    from test_study_commands import propose

    number, _ = propose(world)
    (home / "patients.csv").write_text("age,label\n3,benign\n")
    text = (home / "config.toml").read_text().split("[data]")[0]
    (home / "config.toml").write_text(text + '[data]\nsource = "csv"\npath = "patients.csv"\n')
    code, found = doctor(home)
    assert (code, found["data"][0]) == (1, "failed")
    assert found["data"][1].startswith(f"study {number}: ")
    assert "patients.csv" in found["data"][1]


def test_a_member_that_is_up_dials_this_site_and_says_what_it_runs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "PATIENCE", 30)
    world.found("ada", "bea")
    with online(world, "bea"):
        code, found = doctor(world.home("ada"))
    assert code == 0
    assert found["port"][0] == "ok"
    assert found["port"][1].endswith("can be dialled from outside: by bea")
    assert found["peers"] == ("ok", f"bea answers; it runs {SOFTWARE} (protocol {PROTOCOL})")


@pytest.mark.parametrize(("relay", "says"), [(True, "is called through bea"), (False, "no connected member relays")])
def test_an_address_that_nobody_can_dial_comes_with_what_to_do(
    world: World, monkeypatch: pytest.MonkeyPatch, relay: bool, says: str
) -> None:
    monkeypatch.setattr(peers, "PATIENCE", 30)
    world.found("ada", "bea")
    change(world.home("ada"), 'name = "ada"', 'name = "ada"\nannounce = ["/ip4/127.0.0.1/tcp/1"]')
    with online(world, "bea", relay=relay):
        code, found = doctor(world.home("ada"))
    assert (code, found["port"][0]) == (0, "warning")
    assert "/ip4/127.0.0.1/tcp/1/p2p/" in found["port"][1]
    assert "can't be dialled by bea" in found["port"][1]
    assert says in found["port"][1]
    assert "set `announce`" in found["port"][1]


def test_a_member_of_another_version_is_named_with_who_must_upgrade(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "PATIENCE", 30)
    world.found("ada", "bea")
    with online(world, "bea", software="swarm-node/9.0", protocol=9, oldest=8):
        code, found = doctor(world.home("ada"))
    assert (code, found["peers"][0]) == (0, "warning")
    assert found["peers"][1] == (
        "bea answers, but can't work with this site: it runs swarm-node/9.0 (protocol 9), this site runs "
        f"{SOFTWARE} (protocol {PROTOCOL}): this site must be upgraded to protocol 8 or later"
    )
