"""Making a site's folder."""

import json
import stat
from pathlib import Path

import pytest
from operator_world import done, refused

from node import config, identity
from node.site_folder import SiteFolder

RPC = ("--rpc", "http://127.0.0.1:8545")


@pytest.fixture(autouse=True)
def quick_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    create = identity.create
    monkeypatch.setattr(identity, "create", lambda path, password, **_: create(path, password, scrypt_rounds=2))


def test_a_folder_has_all_that_a_site_needs(tmp_path: Path) -> None:
    home = tmp_path / "site"
    made = done("init", "--home", home, "--name", "Lübeck", *RPC, "--generate-password")
    settings = config.load(home)
    assert (settings.name, settings.dev, settings.listen) == ("Lübeck", False, "/ip4/0.0.0.0/tcp/4001")
    unlocked = identity.unlock(SiteFolder(home).keystore, settings.password_at(home))
    assert unlocked.address == made["address"] == identity.address_of(SiteFolder(home).keystore)
    for secret in (home / "password", SiteFolder(home).keystore):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert "# [data]" in (home / "config.toml").read_text()


def test_the_http_interface_is_on_for_this_machine_alone_unless_told_otherwise(tmp_path: Path) -> None:
    options = ("--name", "x", *RPC, "--generate-password")
    done("init", "--home", tmp_path / "on", *options)
    api = config.load(tmp_path / "on").api
    assert api is not None
    assert (api.listen, api.is_local) == ("127.0.0.1:8630", True)
    assert 'listen = "127.0.0.1:8630"' in (tmp_path / "on" / "config.toml").read_text()
    done("init", "--home", tmp_path / "off", *options, "--api", "off")
    assert config.load(tmp_path / "off").api is None
    assert (
        "set certificate and private_key"
        in refused("init", "--home", tmp_path / "x", *options, "--api", "1.2.3.4:1")[1]
    )


def test_the_password_stays_where_the_operator_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("correct horse battery\n")
    done("init", "--home", tmp_path / "one", "--name", "one", *RPC, "--password-file", tmp_path / "secret")
    assert config.load(tmp_path / "one").password_at(tmp_path / "one") == tmp_path / "secret"
    monkeypatch.setenv("SWARM_PASSWORD", "correct horse battery")
    done("init", "--home", tmp_path / "two", "--name", "two", *RPC)
    assert not (tmp_path / "two" / "password").exists()
    assert identity.unlock(SiteFolder(tmp_path / "two").keystore, None).address


def test_data_is_named_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "patients.csv").write_text("age,label\n")
    made = done(
        "init",
        "--home",
        tmp_path / "a",
        "--name",
        "a",
        *RPC,
        "--generate-password",
        "--data",
        tmp_path / "patients.csv",
    )
    assert made["data"] == {"source": "csv", "path": str(tmp_path / "patients.csv")}
    assert config.load(tmp_path / "a").data == made["data"]
    options = ("--name", "b", *RPC, "--generate-password", "--data")
    assert "ends with .csv" in refused("init", "--home", tmp_path / "b", *options, tmp_path / "patients.xlsx")[1]
    assert "isn't there" in refused("init", "--home", tmp_path / "b", *options, tmp_path / "nowhere.csv")[1]
    assert not (tmp_path / "b").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    home = tmp_path / "site"
    options = ("--home", home, "--name", "one", *RPC, "--generate-password")
    done("init", *options)
    before = {file.name: file.read_bytes() for file in home.iterdir()}
    assert "nothing was changed" in refused("init", *options)[1]
    assert {file.name: file.read_bytes() for file in home.iterdir()} == before


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--rpc", "http://x"), "--name"),
        (("--name", "x"), "--rpc"),
        (("--name", "x" * 65, *RPC), "name"),
        (("--name", "x", *RPC), "--password-file"),
        (("--name", "x", *RPC, "--password-file", "/nonexistent"), "/nonexistent"),
        (("--name", "x", *RPC, "--deployment", "/nonexistent", "--generate-password"), "/nonexistent"),
    ],
)
def test_what_is_missing_or_wrong_is_named_and_nothing_is_left(
    tmp_path: Path, options: tuple[str, ...], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SWARM_PASSWORD", raising=False)
    extra = ("--generate-password",) if "x" * 65 in options or named == "--rpc" or named == "--name" else ()
    _, message = refused("init", "--home", tmp_path / "site", *options, *extra)
    assert named in message
    assert not SiteFolder(tmp_path / "site").keystore.exists()


def test_a_keystore_without_an_account_is_not_one(tmp_path: Path) -> None:
    (tmp_path / "keystore.json").write_text(json.dumps({"version": 3, "address": "0x12"}))
    with pytest.raises(identity.IdentityError, match="names no account"):
        identity.address_of(tmp_path / "keystore.json")
