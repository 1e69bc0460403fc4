"""Who gets in, by which name, how much at a time; and what a stranger learns: nothing."""

import datetime
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from api_world import ALL, Served, served
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from operator_world import World, done, envelope, refused

from ledger import web
from node.api import guard
from node.api import server as api_server
from node.api.tokens import Scope
from node.config import ApiConfig
from node.errors import ConfigurationError

READING = ["/metrics", "/v1/status", "/v1/peers", "/v1/studies", "/v1/models"]
HASH = {"spec_hash": "0" * 64}
DEEDS = {
    "/v1/studies/1/accept": (Scope.CONSENT, HASH),
    "/v1/studies/1/decline": (Scope.CONSENT, HASH),
    "/v1/pause": (Scope.CONTROL, {}),
    "/v1/resume": (Scope.CONTROL, None),
    "/v1/stop": (Scope.CONTROL, None),
}


@pytest.fixture
def site(world: World) -> Iterator[Served]:
    """A consortium of one."""
    world.found("ada")
    with served(world.home("ada")) as site:
        yield site


def test_only_health_and_the_description_need_no_token(site: Served) -> None:
    assert site.ask("GET", "/healthz").json == {"status": "ok", "reasons": []}
    description = site.ask("GET", "/openapi.json").json
    paths = [(path, method) for path, methods in description["paths"].items() for method in methods]
    open_ones = {path for path, method in paths if "security" not in description["paths"][path][method]}
    assert open_ones == {"/healthz"}
    for path, method in paths:
        if path not in open_ones:
            answer = site.ask(method.upper(), path.replace("{study}", "1").replace("{number}", "1"), body={})
            assert (answer.status, answer.code) == (401, "api.token_missing"), path
            assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("scope", Scope)
def test_a_token_opens_what_its_scope_says(site: Served, scope: Scope) -> None:
    token = site.token(scope)
    for path in READING:
        assert site.ask("GET", path, token=token).status == 200
    for path, (needed, body) in DEEDS.items():
        if path != "/v1/stop" or scope is not needed:
            answer = site.ask("POST", path, token=token, body=body)
            assert (answer.status == 403) == (needed is not scope), path
            if needed is not scope:
                assert answer.code == "api.scope"


def test_tokens_are_made_listed_and_revoked_by_commands(site: Served) -> None:
    home = ("--home", site.home)
    made = done("token", "new", *home, "--scope", "read", "--scope", "control", "--days", 2, "--name", "it")
    assert site.ask("GET", "/v1/status", token=made["token"]).status == 200
    (listed,) = done("token", "list", *home)["tokens"]
    assert (listed["id"], listed["scopes"], listed["state"], listed["name"]) == (
        made["id"],
        ["control", "read"],
        "valid",
        "it",
    )
    assert "token" not in listed
    assert done("token", "revoke", *home, made["id"])["state"] == "revoked"
    answer = site.ask("GET", "/v1/status", token=made["token"])
    assert (answer.status, answer.code) == (401, "api.token_invalid")
    assert made["token"].encode() not in answer.body
    assert "no token has" in refused("token", "revoke", *home, "ffffffffffff")[1]


def test_a_register_that_is_damaged_lets_nobody_in_and_says_so(site: Served) -> None:
    token = site.token(Scope.READ)
    (site.home / "api" / "tokens.json").write_text("{")
    answer = site.ask("GET", "/v1/status", token=token)
    assert (answer.status, answer.code) == (503, "node.storage")
    assert str(site.home).encode() not in answer.body


@pytest.mark.parametrize(
    "host", ["attacker.example", "attacker.example:8630", "10.0.0.1", "[::2]:1", "", "localhost.x"]
)
def test_a_name_that_is_made_to_point_here_is_not_answered(site: Served, host: str) -> None:
    for path in ("/healthz", "/v1/status"):
        answer = site.ask("GET", path, token=site.token(*ALL), headers={"host": host})
        assert (answer.status, answer.code) == (421, "api.wrong_host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.1.2.3:80", "[::1]:8630"])
def test_loopback_goes_by_each_of_its_names(site: Served, host: str) -> None:
    assert site.ask("GET", "/healthz", headers={"host": host}).status == 200


def test_no_other_site_of_a_browser_is_let_in(site: Served) -> None:
    answer = site.ask("OPTIONS", "/v1/status", headers={"origin": "http://x", "access-control-request-method": "GET"})
    assert answer.status == 405
    answer = site.ask("GET", "/v1/status", token=site.token(Scope.READ), headers={"origin": "http://x"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert (answer.headers["cache-control"], answer.headers["x-content-type-options"]) == ("no-store", "nosniff")
    assert "server" not in answer.headers


def test_large_and_deep_requests_are_refused(site: Served) -> None:
    token = site.token(*ALL)
    for body in (b"x" * (guard.MAX_BODY_BYTES + 1), b"[" * 100):
        answer = site.ask("POST", "/v1/pause", token=token, body=body, headers={"content-type": "application/json"})
        assert (answer.status, answer.code) == ((413, "api.too_large") if len(body) > 100 else (400, "api.malformed"))
    long = site.ask("GET", "/v1/status", headers={"x-long": "x" * 60_000})
    assert (long.status, long.code) == (431, "api.too_large")
    assert site.ask("GET", "/healthz").status == 200


def test_a_body_without_an_announced_end_is_bounded_too(site: Served) -> None:
    chunk = b"1000\r\n" + b"x" * 0x1000 + b"\r\n"
    request = b"POST /v1/pause HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as line:
        line.sendall(request + 6 * chunk)
        assert line.recv(100).startswith(b"HTTP/1.1 413 ")


def test_requests_that_never_end_are_hung_up_on(site: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "IDLE_SECONDS", 0.2)
    lines = [socket.create_connection(("127.0.0.1", site.port), timeout=30) for _ in range(api_server.MOST_CONNECTIONS)]
    try:
        for line in lines[1:]:
            line.sendall(b"GET /healthz HTT")
        for line in lines:
            assert line.recv(1) == b""
    except ConnectionResetError:
        pass
    finally:
        for line in lines:
            line.close()
    _until(lambda: site.ask("GET", "/healthz").status == 200)  # once the connections that were cut are cleared away


def _until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_request_that_takes_too_long_is_given_up(site: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from node.api import consent

    free = threading.Event()
    monkeypatch.setattr(guard, "REQUEST_SECONDS", 0.2)
    monkeypatch.setattr(consent, "inspect", lambda *_: free.wait(60))
    try:
        answer = site.ask("GET", "/v1/studies/1/inspection", token=site.token(Scope.READ))
        assert (answer.status, answer.code) == (503, "api.unavailable")
    finally:
        free.set()


def test_what_nobody_expected_is_logged_and_not_told(
    site: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from node.api import views

    def fail(*_: object) -> None:
        raise RuntimeError("the secret path /etc/secret")

    monkeypatch.setattr(views, "peers", fail)
    token = site.token(Scope.READ)
    answer = site.ask("GET", "/v1/peers", token=token)
    assert (answer.status, answer.code) == (500, "api.internal")
    assert b"secret" not in answer.body
    _until(lambda: "the secret path" in caplog.text)  # the answer comes first
    assert token not in caplog.text
    assert site.ask("GET", "/healthz").status == 200


# -- other machines --------------------------------------------------------------------------------------------------


@pytest.fixture
def certified(world: World) -> Path:
    """A site with a certificate of its own making."""
    world.found("ada")
    home = world.home("ada")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "site.hospital.example")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("site.hospital.example"), x509.IPAddress(ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    (home / "tls.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (home / "tls.key").write_bytes(private)
    return home


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_other_machines_are_answered_over_tls_only(certified: Path) -> None:
    tls = ssl.create_default_context(cafile=str(certified / "tls.pem"))
    keys = {"certificate": Path("tls.pem"), "private_key": Path("tls.key")}
    with served(certified, tls=tls, listen="0.0.0.0:0", **keys) as site:
        status = site.ask("GET", "/v1/status", token=site.token(Scope.READ), headers={"host": "site.hospital.example"})
        assert status.json["name"] == "ada"
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # a client that knows no newer version
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with socket.create_connection(("127.0.0.1", site.port), timeout=30) as line, pytest.raises(ssl.SSLError):
            old.wrap_socket(line)
        with socket.create_connection(("127.0.0.1", site.port), timeout=30) as line:
            line.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert not line.recv(100).startswith(b"HTTP")
        config = certified / "config.toml"
        config.write_text(
            config.read_text()
            + f'[api]\nlisten = "0.0.0.0:{site.port}"\ncertificate = "tls.pem"\nprivate_key = "tls.key"\n'
        )
        assert done("health", "--home", certified) == {"status": "ok", "reasons": []}


@pytest.mark.parametrize("listen", ["0.0.0.0:8630", "[::]:8630", "10.1.0.5:8630", "site.hospital.example:8630"])
def test_without_tls_no_other_machine_can_reach_it(listen: str) -> None:
    with pytest.raises(ValueError, match="set certificate and private_key"):
        ApiConfig(listen=listen)
    assert ApiConfig(listen=listen, certificate=Path("a"), private_key=Path("b")).certificate


@pytest.mark.parametrize("listen", ["127.0.0.1", "8630", ":8630", "127.0.0.1:x", "127.0.0.1:65536", "::1:8630", ""])
def test_an_address_that_is_none_is_refused(listen: str) -> None:
    with pytest.raises(ValueError, match="is not host:port"):
        ApiConfig(listen=listen)


def test_a_port_in_use_and_a_certificate_that_is_none_are_named(certified: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BaseExceptionGroup) as caught, served(certified, listen=f"127.0.0.1:{port}"):
            pass
        assert caught.group_contains(ConfigurationError, match=f"can't listen on 127.0.0.1:{port}")
    (certified / "tls.pem").write_text("no certificate")
    keys = {"certificate": Path("tls.pem"), "private_key": Path("tls.key")}
    with pytest.raises(BaseExceptionGroup) as caught, served(certified, **keys):
        pass
    assert caught.group_contains(ConfigurationError, match="certificate or private_key can't be used")


def test_health_can_be_asked_where_there_is_an_interface(world: World) -> None:
    world.found("ada")
    code, answer = envelope("health", "--home", world.home("ada"))
    assert (code, "has no [api]" in answer["data"]["message"]) == (2, True)
    config = world.home("ada") / "config.toml"
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    config.write_text(config.read_text() + f'[api]\nlisten = "127.0.0.1:{port}"\n')
    assert "does the node run?" in refused("health", "--home", world.home("ada"))[1]
