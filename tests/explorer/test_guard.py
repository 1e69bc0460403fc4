"""What stands before every request."""

import socket
from contextlib import closing, suppress

import pytest
from httpx import Client
from serving import Explorer, served
from story import Story

from ledger import web
from ledger.api.guard import Guard
from ledger.api.problems import Refused
from ledger.api.rates import Rates
from ledger.api.server import Listen, _listening
from ledger.errors import ServiceInvalid
from ledger.explorer.static_files import files

PATHS = ("/", "/api/v1/status", "/static/style.css", "/nothing", "/api/v1/nothing")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_nothing_can_be_asked_for_but_to_read(explorer: Explorer, path: str, method: str) -> None:
    answer = explorer.client.request(method, path, content=b"{}")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", PATHS)
def test_head_says_what_get_says_without_the_body(explorer: Explorer, path: str) -> None:
    whole, head = explorer.client.get(path), explorer.client.head(path)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert head.headers.get("etag") == whole.headers.get("etag")


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_forbids_a_browser_what_no_page_needs(explorer: Explorer, path: str) -> None:
    said = explorer.client.get(path).headers
    policy = said["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert said["x-content-type-options"] == "nosniff"
    assert said["referrer-policy"] == "no-referrer"
    assert "server" not in said


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "[::1", "10.0.0.1"]
)
def test_a_name_that_was_pointed_at_this_machine_gets_no_answer(explorer: Explorer, host: str) -> None:
    assert explorer.client.get("/api/v1/status", headers={"host": host}).status_code in (400, 421)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.2:9", "[::1]:8600"])
def test_this_machine_s_own_names_get_one(explorer: Explorer, host: str) -> None:
    assert explorer.client.get("/api/v1/status", headers={"host": host}).status_code == 200


def test_other_sites_pages_may_not_read_it_unless_they_were_named(explorer: Explorer) -> None:
    def allowed(path: str, origin: str) -> str | None:
        return explorer.client.get(path, headers={"origin": origin}).headers.get("access-control-allow-origin")

    assert allowed("/api/v1/status", "https://evil.example") is None
    assert allowed("/api/v1/status", "null") is None
    assert allowed("/", "https://auditor.example") is None
    assert allowed("/api/v1/status", "https://auditor.example") == "https://auditor.example"


def test_an_answer_is_given_once_for_each_state_of_the_ledger(explorer: Explorer) -> None:
    first = explorer.client.get("/api/v1/studies/1")
    again = explorer.client.get("/api/v1/studies/1", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    weak = explorer.client.get("/api/v1/studies/1", headers={"if-none-match": f'"x", W/{first.headers["etag"]}'})
    assert weak.status_code == 304
    other = explorer.client.get("/api/v1/studies/1?x=1", headers={"if-none-match": first.headers["etag"]})
    assert other.status_code == 200


def test_a_new_block_makes_old_answers_stale(tmp_path_factory: pytest.TempPathFactory) -> None:
    story = Story()
    with served(story, tmp_path_factory.mktemp("stale")) as explorer:
        before = explorer.client.get("/api/v1/consortium")
        story.propose(2)
        explorer.until_read()
        after = explorer.client.get("/api/v1/studies", headers={"if-none-match": before.headers["etag"]})
        assert len(after.json()["items"]) == 1
        same = explorer.client.get("/api/v1/consortium", headers={"if-none-match": before.headers["etag"]})
        assert same.status_code == 200
        assert same.headers["etag"] != before.headers["etag"]


def test_what_changes_without_the_ledger_is_not_kept(explorer: Explorer) -> None:
    assert explorer.client.get("/api/v1/studies/1/verdicts").headers["cache-control"] == "no-store"
    assert explorer.client.get("/studies/1/rules").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "name", ["../pages.py", "..%2fpages.py", "%2e%2e/pages.py", "pages.py", "", "%00", "style.css%00"]
)
def test_no_path_leads_out_of_the_static_files(explorer: Explorer, name: str) -> None:
    with Client(base_url=explorer.url) as client:
        assert client.get(f"/static/{name}").status_code in (404, 422)


def test_static_files_are_whole_and_told_apart(explorer: Explorer) -> None:
    for name, content in files().items():
        answer = explorer.client.get(f"/static/{name}")
        assert answer.content == content
        again = explorer.client.get(f"/static/{name}", headers={"if-none-match": answer.headers["etag"]})
        assert again.status_code == 304


def test_a_query_is_not_longer_than_anybody_needs(explorer: Explorer) -> None:
    assert explorer.client.get("/api/v1/search?q=" + "x" * 3000).status_code == 422


def test_a_client_that_asks_too_often_waits_and_others_don_t() -> None:
    now = [0.0]
    rates = Rates(2, 3, clock=lambda: now[0], most_clients=2)
    for _ in range(3):
        rates.spend("one")
    with pytest.raises(Refused) as refused:
        rates.spend("one")
    assert (refused.value.status, refused.value.headers["retry-after"]) == (429, "1")
    rates.spend("two")
    now[0] += 0.5
    rates.spend("one")
    with pytest.raises(Refused):
        rates.spend("one")


def test_clients_that_went_away_take_no_memory() -> None:
    rates = Rates(clock=lambda: 0.0, most_clients=10)
    for number in range(100):
        rates.spend(str(number))
    assert len(rates._buckets) == 10


def test_too_many_requests_are_refused_over_http(tmp_path_factory: pytest.TempPathFactory) -> None:
    clock = [0.0]
    with served(Story(), tmp_path_factory.mktemp("rates"), rates=Rates(1, 5, clock=lambda: clock[0])) as explorer:
        codes = [explorer.client.get("/api/v1/status").status_code for _ in range(7)]
        assert codes == [200] * 5 + [429] * 2
        clock[0] += 10
        assert explorer.client.get("/api/v1/status").status_code == 200


async def _fail(*_: object) -> None:
    raise RuntimeError("a secret of the insides")


def test_an_unexpected_error_tells_nobody_of_the_insides(caplog: pytest.LogCaptureFixture) -> None:
    import asyncio

    sent = []

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/x",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
    }
    asyncio.run(Guard(_fail, is_local=True)(scope, _fail, send))
    assert sent[0]["status"] == 500
    assert b"secret" not in b"".join(message.get("body", b"") for message in sent)
    assert "answering GET '/x' failed" in caplog.text


@pytest.mark.parametrize("text", ["8600", ":8600", "localhost:", "localhost:99999", "localhost:x", "localhost:-1"])
def test_a_place_to_listen_is_a_host_and_a_port(text: str) -> None:
    with pytest.raises(ServiceInvalid):
        Listen.parse(text)


def test_loopback_is_this_machine_alone() -> None:
    assert all(map(web.is_loopback, ("localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]")))
    assert not any(map(web.is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org", "")))


def test_requests_that_never_end_are_hung_up_on(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "IDLE_SECONDS", 0.2)
    port = explorer.client.base_url.port
    assert port is not None
    with closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as line:
        line.sendall(b"GET / HTT")
        with suppress(ConnectionResetError):
            assert line.recv(1) == b""


def test_a_small_answer_does_not_wait_for_the_reader() -> None:
    """asyncio turns Nagle's algorithm off where a socket names its protocol; else a body waits 40 ms for its head."""
    with closing(_listening(Listen("127.0.0.1", 0))) as listening:
        assert listening.proto == socket.IPPROTO_TCP
