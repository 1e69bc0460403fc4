"""The site's own Ethereum node: TLS held against a private authority, credentials sent to it alone, shown nowhere."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ledger.devnet import Devnet
from ledger.errors import RpcUnreachable
from node import config, endpoint
from node.config import NodeConfig
from node.errors import ConfigurationError
from tests.ledger.faulty_endpoint import FaultyEndpoint, RpcFault
from tests.ledger.tls import Tls, make_tls

SECRET = "s3cret-t0ken"


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    with Devnet.start(tmp_path_factory.mktemp("devnet")) as running:
        yield running


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    return make_tls(tmp_path)


def site(rpc: Any, **settings: Any) -> NodeConfig:
    return config.validate({"name": "ada", "rpc": rpc, **settings}, "here")


def write_secret(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return path.name


def test_a_private_authority_is_trusted_where_it_is_named(devnet: Devnet, tls: Tls, tmp_path: Path) -> None:
    with FaultyEndpoint(devnet.ipc, tls=tls.server) as node:
        named = site([{"url": node.url, "ca_file": "ca.pem"}])
        with endpoint.connect(named, tmp_path) as rpc:
            assert rpc.call("eth_chainId") == hex(4711)


def test_an_authority_that_is_not_named_is_not_trusted(devnet: Devnet, tls: Tls, tmp_path: Path) -> None:
    with (
        FaultyEndpoint(devnet.ipc, tls=tls.server) as node,
        endpoint.connect(site(node.url), tmp_path) as rpc,
        pytest.raises(RpcUnreachable, match=r"its certificate isn't trusted .* ca_file") as caught,
    ):
        rpc.call("eth_chainId")
    assert not caught.value.may_have_acted
    assert node.asked.total() == 0


def test_a_certificate_of_another_host_is_not_trusted(devnet: Devnet, tmp_path: Path) -> None:
    other = make_tls(tmp_path, address="10.0.0.9")
    with FaultyEndpoint(devnet.ipc, tls=other.server) as node:
        named = site([{"url": node.url, "ca_file": "ca.pem"}])
        with endpoint.connect(named, tmp_path) as rpc, pytest.raises(RpcUnreachable, match="isn't trusted"):
            rpc.call("eth_chainId")


@pytest.mark.parametrize(
    ("in_url", "in_file", "sent"),
    [
        ("", f"Bearer {SECRET}\n", f"Bearer {SECRET}"),
        ("", f"ada:{SECRET}", "Basic YWRhOnMzY3JldC10MGtlbg=="),
        (f"ada:{SECRET}@", None, "Basic YWRhOnMzY3JldC10MGtlbg=="),
        ("ada:other@", f"ada:{SECRET}", "Basic YWRhOnMzY3JldC10MGtlbg=="),
    ],
)
def test_credentials_of_a_file_or_an_address_are_sent(
    devnet: Devnet, tls: Tls, tmp_path: Path, in_url: str, in_file: str | None, sent: str
) -> None:
    with FaultyEndpoint(devnet.ipc, tls=tls.server, wants=sent) as node:
        one = {"url": node.url.replace("://", f"://{in_url}"), "ca_file": "ca.pem"}
        if in_file is not None:
            one["credentials_file"] = write_secret(tmp_path / "credentials", in_file)
        with endpoint.connect(site([one]), tmp_path) as rpc:
            assert rpc.call("eth_chainId") == hex(4711)
        assert node.authorizations == {sent}


def test_credentials_go_to_their_own_node_alone(devnet: Devnet, tmp_path: Path) -> None:
    with FaultyEndpoint(devnet.ipc) as first, FaultyEndpoint(devnet.ipc) as second:
        credentials = write_secret(tmp_path / "credentials", f"Bearer {SECRET}")
        both = site([{"url": first.url, "credentials_file": credentials}, second.url], rpc_seconds=0.2)
        with endpoint.connect(both, tmp_path) as rpc:
            first.set(RpcFault.DROPS)
            rpc.call("eth_chainId")
        assert (first.authorizations, second.authorizations) == ({f"Bearer {SECRET}"}, {""})


@pytest.mark.parametrize("fault", [None, RpcFault.STALLS, RpcFault.DROPS, RpcFault.IS_DOWN])
def test_credentials_appear_in_no_error_and_no_log(devnet: Devnet, tmp_path: Path, fault: RpcFault | None) -> None:
    with (
        capture_logs() as logged,
        FaultyEndpoint(devnet.ipc, wants="Bearer something-else") as first,
        FaultyEndpoint(devnet.ipc) as second,
    ):
        secretive = [
            {"url": first.url, "credentials_file": write_secret(tmp_path / "credentials", f"Bearer {SECRET}")},
            second.url.replace("://", f"://ada:{SECRET}@") + f"/{SECRET}?key={SECRET}",
        ]
        first.set(fault)
        second.set(RpcFault.DROPS)
        with endpoint.connect(site(secretive, rpc_seconds=0.2), tmp_path) as rpc:
            with pytest.raises(RpcUnreachable) as caught:
                rpc.call("eth_chainId")
            shown = f"{caught.value} {rpc} {rpc!r}"
    assert logged[0]["event"] == "rpc_switched"
    assert first.url in shown
    assert SECRET not in shown + str(logged)


@pytest.mark.parametrize(
    "rpc",
    [
        f"http://ada:{SECRET}/x@localhost:8545",
        f"http://ada:{SECRET} x@localhost:8545",
        f"http://ada:{SECRET}@[localhost",
        f"ftp://ada:{SECRET}@localhost",
        f"ada:{SECRET}@localhost",
        [f"http://localhost:1/\t{SECRET}"],
        [{"url": "http://localhost", "credentials_file": 7, "pasword": SECRET}],
        {"url": SECRET},
    ],
)
def test_what_is_no_address_is_refused_without_showing_it(rpc: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="rpc") as caught:
        endpoint.connect(site(rpc), tmp_path)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("text", ["", SECRET, f"Bearer {SECRET}\nX-Evil: 1", f"Bearer {SECRET} x", f"a:{SECRET}\r\nb"])
def test_a_file_without_credentials_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    one = {"url": "http://localhost", "credentials_file": write_secret(tmp_path / "credentials", text)}
    with pytest.raises(ConfigurationError, match="must hold one line") as caught:
        endpoint.connect(site([one]), tmp_path)
    assert SECRET not in str(caught.value)


def test_a_file_of_credentials_that_others_may_read_is_refused(tmp_path: Path) -> None:
    one = {"url": "http://localhost", "credentials_file": write_secret(tmp_path / "credentials", "a:b", 0o644)}
    with pytest.raises(ConfigurationError, match="chmod 600"):
        endpoint.connect(site([one]), tmp_path)


@pytest.mark.parametrize("field", ["credentials_file", "ca_file"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, field: str) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        endpoint.connect(site([{"url": "http://localhost", field: "nowhere"}]), tmp_path)


def test_a_file_without_certificates_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ConfigurationError, match=r"certificates in .*ca\.pem"):
        endpoint.connect(site([{"url": "https://localhost", "ca_file": "ca.pem"}]), tmp_path)


def test_several_nodes_round_trip_through_the_file(tmp_path: Path) -> None:
    made = site(["ipc:///run/chain.ipc", {"url": "https://10.0.0.1:8545", "ca_file": "ca.pem"}])
    (tmp_path / "config.toml").write_bytes(config.render(made))
    assert config.load(tmp_path) == made
    first, second = made.endpoints_at(tmp_path)
    assert (first.url, second.ca_file) == ("ipc:///run/chain.ipc", tmp_path / "ca.pem")


@pytest.mark.parametrize("client", ["anvil/v1.7.1", "Hardhat/3", "Ganache/v7", "EthereumTester/0.14"])
def test_a_development_chain_is_refused_unless_it_was_asked_for(client: str) -> None:
    with pytest.raises(ConfigurationError, match="development chain"):
        endpoint.check_kind(client, site("http://localhost"))
    endpoint.check_kind(client, site("http://localhost", dev=True))
    endpoint.check_kind("besu/v26.9.0", site("http://localhost"))
