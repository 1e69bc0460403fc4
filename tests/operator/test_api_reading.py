"""What the HTTP interface says of a site, against a real ledger."""

import pytest
from api_world import ALL, accept, commit, served
from operator_world import NAMES, World, done
from test_study_commands import propose

from ledger.state import ConsortiumState
from node import identity
from node.api.tokens import Scope
from node.api.views import _connection
from node.network.port import PROTOCOL, Hello, PeerView
from node.site_folder import SiteFolder
from node.version import SOFTWARE


def account(world: World, name: str) -> str:
    return identity.address_of(SiteFolder(world.home(name)).keystore)


@pytest.fixture
def running(consortium: World) -> World:
    """A study in its first round, where one of three sites has committed, and one that is only proposed."""
    first, _ = propose(consortium, rounds=2)
    propose(consortium, rounds=5)
    accept(consortium, first, *NAMES)
    commit(consortium, "ada", first, bytes(31) + b"a")
    return consortium


def test_the_status_is_the_commands_own(running: World) -> None:
    with served(running.home("ada"), peers=(account(running, "bea"),)) as site:
        said = site.get("/v1/status")
        typed = done("status", "--home", running.home("ada"))
    assert said["studies"] == typed["studies"]
    assert {name: said[name] for name in ("name", "address", "member", "paused")} == {
        name: typed[name] for name in ("name", "address", "member", "paused")
    }
    assert said["studies"][0]["waits_for"] == "collecting: waiting for bea, cleo"
    assert (said["connected"], said["healthy"], said["software"]) == (["bea"], True, SOFTWARE)
    assert said["chain"]["block"] == typed["chain"]["block"]


def test_studies_and_rounds_come_a_page_at_a_time(running: World) -> None:
    with served(running.home("ada")) as site:
        page = site.get("/v1/studies?limit=1")
        assert ([one["study"] for one in page["items"]], page["next"]) == ([2], 2)
        page = site.get(f"/v1/studies?limit=1&cursor={page['next']}")
        assert ([one["study"] for one in page["items"]], page["next"]) == ([1], None)
        assert site.get("/v1/studies/1") == page["items"][0]
        (one,) = site.get("/v1/studies/1/rounds")["items"]
        assert site.get("/v1/studies/1/rounds/0") == one
        assert site.get("/v1/studies/2/rounds") == {"items": [], "next": None}
    assert (one["round"], one["phase"], one["eligible"]) == (0, "collecting", list(NAMES))
    (made,) = one["commits"]
    assert (made["site"], made["blob"], made["weight"]) == ("ada", "00" * 31 + "61", 3)
    assert (one["terms"], one["final"]) == ([], None)


def test_a_sealed_round_names_its_leader(running: World) -> None:
    for name in ("bea", "cleo"):
        commit(running, name, 1, bytes(31) + name[:1].encode())
    with served(running.home("ada")) as site:
        one = site.get("/v1/studies/1/rounds/0")
        (term,) = one["terms"]
        assert (one["phase"], term["leader"]) == ("merging", site.get("/v1/studies/1")["leader"])
    assert {made["site"] for made in one["commits"]} == set(NAMES)
    assert (term["published"], term["fault"], term["attested"]) == (None, None, [])


def test_peers_are_the_other_members_connected_or_not(consortium: World) -> None:
    bea = account(consortium, "bea")
    with served(consortium.home("ada"), peers=(bea,)) as site:
        peers = {peer["name"]: peer for peer in site.get("/v1/peers")["items"]}
    assert peers.keys() == {"bea", "cleo"}
    assert (peers["bea"]["address"], peers["bea"]["connected"], peers["bea"]["software"]) == (
        bea,
        True,
        "swarm-node/test",
    )
    assert (peers["bea"]["protocol"], peers["bea"]["relayed_by"], peers["bea"]["fault"]) == (PROTOCOL, None, None)
    assert (peers["cleo"]["connected"], peers["cleo"]["software"]) == (False, None)


def test_a_member_of_another_version_is_told_of_with_what_it_runs() -> None:
    """The network remembers what it said, though the connection was refused."""
    ada, bea = ("0x" + digit * 40 for digit in "ab")
    said = Hello(1, ada, "swarm-node/9", protocol=9, oldest=9)
    fault = "it speaks protocols 9 to 9"
    view = _connection(PeerView(bea, False, None, said, fault), ConsortiumState())
    assert view == {
        "connected": False,
        "relayed_by": None,
        "software": "swarm-node/9",
        "protocol": 9,
        "fault": fault,
    }


def test_what_is_not_there_is_a_problem(consortium: World) -> None:
    with served(consortium.home("ada")) as site:
        token = site.token(Scope.READ)
        for path in (
            "/v1/studies/9",
            "/v1/studies/9/rounds",
            "/v1/studies/9/inspection",
            f"/v1/models/{'0' * 64}",
            "/nowhere",
        ):
            answer = site.ask("GET", path, token=token)
            assert (answer.status, answer.code) == (404, "api.not_found"), path
        assert site.get("/v1/models") == {"items": [], "next": None}


def test_what_is_not_well_formed_is_named_and_not_repeated(consortium: World) -> None:
    with served(consortium.home("ada")) as site:
        answer = site.ask("GET", "/v1/studies?limit=many-secrets", token=site.token(Scope.READ))
        assert (answer.status, answer.code) == (422, "api.invalid")
        assert list(answer.json["fields"]) == ["query.limit"]
        assert b"many-secrets" not in answer.body
        answer = site.ask("DELETE", "/v1/status", token=site.token(*ALL))
        assert (answer.status, answer.code, answer.headers["allow"]) == (405, "api.method", "GET")


def test_the_inspection_is_the_commands_own_and_has_the_policy(running: World) -> None:
    home = running.home("bea")
    (home / "policy.toml").write_text("max_rounds = 3\n")
    with served(home) as site:
        said = site.get("/v1/studies/2/inspection")
        typed = done("study", "inspect", "--home", home, 2)
        assert said == typed
        assert [one["rule"] for one in said["policy"]] == ["max_rounds"]


def test_a_site_that_does_not_answer_is_said_to_be_stuck(consortium: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    from node.api import bridge

    monkeypatch.setattr(bridge, "PATIENCE", 0.2)
    with served(consortium.home("ada")) as site:
        token = site.token(Scope.READ)
        free = threading.Event()
        site.trio_token.run_sync_soon(free.wait)
        try:
            healthz, status = site.ask("GET", "/healthz"), site.ask("GET", "/v1/status", token=token)
        finally:
            free.set()
    assert (healthz.status, [one["code"] for one in healthz.json["reasons"]]) == (503, ["loop_stuck"])
    assert (status.status, status.code) == (503, "api.unavailable")
