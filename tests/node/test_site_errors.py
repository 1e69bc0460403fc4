"""How a site ends that cannot run: each cause has its code, its exit status and a message that names what to mend."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from site_world import copy_site, make_scene

from ledger.deployment import Deployment
from ledger.devnet import Devnet
from ledger.errors import RpcUnreachable
from ledger.stream import EventStream
from node import identity, log
from node.cli import main
from node.demo.scene import SCRYPT_ROUNDS, Scene
from node.site_folder import SiteFolder

pytestmark = pytest.mark.slow

FAILED, USAGE = 1, 2


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("scene")
    with Devnet.start(folder / "chain") as devnet:
        yield make_scene(folder, devnet)


@pytest.fixture
def site(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes a site's folder with other settings."""
    monkeypatch.setattr(log, "configure", lambda **context: None)
    return lambda **settings: copy_site(scene, tmp_path, **settings)


def ends(home: Path) -> tuple[int, str, str]:
    """Run a site that can't; give the exit code, the envelope's code and its message."""
    outcome = CliRunner().invoke(main, ["run", "--home", str(home), "--json"])
    assert outcome.exception is None or isinstance(outcome.exception, SystemExit), outcome.exception
    envelope: dict[str, Any] = json.loads(outcome.stdout.splitlines()[-1])
    assert envelope["schema"] == 1
    assert envelope["status"] == "error"
    return outcome.exit_code, envelope["code"], envelope["data"]["message"]


def expect(home: Path, exit_code: int, code: str, *words: str) -> None:
    ended = ends(home)
    assert ended[:2] == (exit_code, code)
    for word in words:
        assert word in ended[2]


# -- its own folder --------------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    expect(tmp_path / "nowhere", USAGE, "node.configuration", "config.toml", "No such file")


def test_a_configuration_that_is_not_one(site: Callable[..., Path]) -> None:
    home = site()
    SiteFolder(home).config.write_text("name = ")
    expect(home, USAGE, "node.configuration", "not TOML")
    SiteFolder(home).config.write_text('name = "ada"\nrpc = "http://x"\nworkers = 7')
    expect(home, USAGE, "node.configuration", "workers")


def test_no_keystore(site: Callable[..., Path]) -> None:
    home = site()
    SiteFolder(home).keystore.unlink()
    expect(home, FAILED, "node.identity", "keystore.json", "swarm-node init")


def test_a_keystore_that_is_not_one(site: Callable[..., Path]) -> None:
    home = site()
    for content in ("", "[]", "{}", '{"version": 3, "crypto": 7}', "[" * 10_000):
        SiteFolder(home).keystore.write_text(content)
        expect(home, FAILED, "node.identity", "keystore")


def test_a_wrong_password(site: Callable[..., Path]) -> None:
    home = site()
    (home / "password").write_text("not the password")
    expect(home, FAILED, "node.identity", "wrong password")


def test_no_password(site: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    home = site()
    (home / "password").unlink()
    expect(home, FAILED, "node.identity", "password")
    monkeypatch.delenv("SWARM_PASSWORD", raising=False)
    config = SiteFolder(home).config
    config.write_text(config.read_text().replace('password_file = "password"', ""))
    expect(home, FAILED, "node.identity", "SWARM_PASSWORD")


def test_another_node_in_the_same_folder(site: Callable[..., Path]) -> None:
    home = site()
    with SiteFolder(home).lock():
        expect(home, USAGE, "node.configuration", "another node is running")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(site: Callable[..., Path]) -> None:
    home = site()
    home.chmod(0o500)
    expect(home, USAGE, "node.configuration", "can't write")


# -- its chain -------------------------------------------------------------------------------------------------------


def test_no_deployment(site: Callable[..., Path]) -> None:
    home = site()
    SiteFolder(home).deployment.unlink()
    expect(home, FAILED, "ledger.deployment_invalid", "deployment.json")


@pytest.mark.parametrize("content", ["", "[]", '{"version": 1}', '{"version": 1, "chain_id": "x"}', "[" * 10_000])
def test_a_deployment_that_is_not_one(site: Callable[..., Path], content: str) -> None:
    home = site()
    SiteFolder(home).deployment.write_text(content)
    expect(home, FAILED, "ledger.deployment_invalid", "deployment")


@pytest.mark.parametrize("rpc", ["localhost:8545", "ftp://x", "http://", "nonsense"])
def test_an_address_of_the_chains_node_that_is_none(site: Callable[..., Path], rpc: str) -> None:
    expect(site(rpc=rpc), USAGE, "node.configuration", "rpc", "http://host:port")


def test_nobody_at_the_address_of_the_chains_node(site: Callable[..., Path], tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    expect(site(rpc=f"http://127.0.0.1:{port}"), FAILED, "ledger.rpc.unreachable", str(port))


def test_no_socket_of_the_chains_node(site: Callable[..., Path], tmp_path: Path) -> None:
    expect(site(rpc=f"ipc://{tmp_path}/no.ipc"), FAILED, "ledger.rpc.unreachable", "no.ipc")


def test_something_else_at_the_address_of_the_chains_node(site: Callable[..., Path]) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        mute.settimeout(0)
        port = mute.getsockname()[1]
        home = site(rpc=f"http://127.0.0.1:{port}")
        mute.close()
        expect(home, FAILED, "ledger.rpc.unreachable", str(port))


def test_a_node_that_goes_away_before_the_first_look_at_the_ledger(
    site: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def poll(stream: EventStream) -> None:
        raise RpcUnreachable("nobody listens")

    monkeypatch.setattr(EventStream, "poll", poll)
    expect(site(), FAILED, "ledger.rpc.unreachable", "nobody listens")


def test_a_chain_with_another_beginning(site: Callable[..., Path], tmp_path: Path) -> None:
    home = site()
    with Devnet.start(tmp_path / "another") as another:
        config = SiteFolder(home).config
        config.write_text(config.read_text().replace(_rpc_of(config), another.ipc))
        expect(home, FAILED, "ledger.chain_mismatch", "reset")


def test_a_chain_with_another_number(site: Callable[..., Path]) -> None:
    home = site()
    path = SiteFolder(home).deployment
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "chain_id": 1}))
    expect(home, FAILED, "ledger.chain_mismatch", "chain 1")


def test_contracts_that_are_not_there(site: Callable[..., Path]) -> None:
    home = site()
    path = SiteFolder(home).deployment
    real = Deployment.load(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "consortium": real.study, "study": real.consortium}))
    expect(home, FAILED, "ledger.chain_mismatch", "is not this version's")


def test_a_development_chain_that_was_not_asked_for(site: Callable[..., Path]) -> None:
    expect(site(dev=False), USAGE, "node.configuration", "development chain", "dev = true")


def test_a_key_that_is_no_members(site: Callable[..., Path]) -> None:
    home = site()
    SiteFolder(home).keystore.unlink()
    stranger = identity.create(SiteFolder(home).keystore, (home / "password").read_text(), scrypt_rounds=SCRYPT_ROUNDS)
    expect(home, FAILED, "node.not_member", stranger.address, "must admit it")


# -- its network -----------------------------------------------------------------------------------------------------


def test_a_port_that_is_in_use(site: Callable[..., Path]) -> None:
    with socket.socket() as user:
        user.bind(("127.0.0.1", 0))
        user.listen()
        port = user.getsockname()[1]
        expect(site(listen=f"/ip4/127.0.0.1/tcp/{port}"), FAILED, "network.listen", str(port), "in use")


@pytest.mark.parametrize("listen", ["127.0.0.1:4001", "/ip4/127.0.0.1/udp/4001", "/ip4/300.0.0.1/tcp/1"])
def test_an_address_to_listen_on_that_is_none(site: Callable[..., Path], listen: str) -> None:
    expect(site(listen=listen), FAILED, "network.listen", listen)


def _rpc_of(config: Path) -> str:
    line = next(line for line in config.read_text().splitlines() if line.startswith("rpc"))
    return line.split('"')[1]
