"""Consent, pause and stop over HTTP: by the rules of the command line, and by exact hash only."""

from pathlib import Path

import pytest
from api_world import ALL, Answer, Served, served
from operator_world import World, done
from test_study_commands import propose

from node.api.tokens import Scope
from node.site_folder import SiteFolder


def accept(site: Served, study: int, spec_hash: str) -> Answer:
    path = f"/v1/studies/{study}/accept"
    return site.ask("POST", path, token=site.token(Scope.CONSENT), body={"spec_hash": spec_hash})


def test_a_study_is_accepted_by_its_exact_hash_only(consortium: World) -> None:
    number, spec_hash = propose(consortium)
    with served(consortium.home("bea")) as site:
        for wrong in (f"{int(spec_hash, 16) ^ 1:064x}", "0" * 64):
            answer = accept(site, number, wrong)
            assert (answer.status, answer.code) == (409, "api.spec_mismatch")
        for short in (spec_hash[:8], spec_hash.upper(), "", None, 7):
            answer = accept(site, number, short)  # type: ignore[arg-type]
            assert (answer.status, answer.code) == (422, "api.invalid")
        assert site.get(f"/v1/studies/{number}")["answer"] == "none"
        answer = accept(site, number, spec_hash)
        assert (answer.status, answer.json["answer"], answer.json["accepted"]) == (200, "accepted", ["bea"])
        again = accept(site, number, spec_hash)
        assert (again.status, again.code) == (409, "api.answered")
        missing = accept(site, 9, spec_hash)
        assert (missing.status, missing.code) == (404, "api.not_found")
    assert done("study", "list", "--home", consortium.home("bea"))["studies"][0]["answer"] == "accepted"


def test_the_policy_has_the_last_word_here_too(consortium: World) -> None:
    number, spec_hash = propose(consortium, rounds=5)
    home = consortium.home("cleo")
    with served(home) as site:
        (home / "policy.toml").write_text("max_rounds = 3\n")
        answer = accept(site, number, spec_hash)
        assert (answer.status, answer.code) == (409, "node.study_refused")
        assert "max_rounds: its number of rounds is 5" in answer.json["detail"]
        (home / "policy.toml").write_text("max_roundz = 3\n")
        answer = accept(site, number, spec_hash)
        assert (answer.status, answer.code) == (409, "node.configuration")
        assert site.get(f"/v1/studies/{number}")["answer"] == "none"


def test_nothing_of_the_data_is_told_where_it_does_not_fit(consortium: World) -> None:
    number, spec_hash = propose(consortium)
    home = consortium.home("cleo")
    config = (home / "config.toml").read_text()
    (home / "patients.csv").write_text("age,label\n3,benign\n")
    (home / "config.toml").write_text(config.split("[data]")[0] + '[data]\nsource = "csv"\npath = "patients.csv"\n')
    with served(home) as site:
        answer = accept(site, number, spec_hash)
    assert (answer.status, answer.code) == (409, "node.study_refused")
    assert "patients" not in answer.body.decode()
    assert str(home) not in answer.body.decode()


def test_a_member_declines_on_record(consortium: World) -> None:
    number, spec_hash = propose(consortium)
    with served(consortium.home("bea")) as site:
        path, token = f"/v1/studies/{number}/decline", site.token(Scope.CONSENT)
        assert site.ask("POST", path, token=token, body={"spec_hash": "0" * 64}).code == "api.spec_mismatch"
        answer = site.ask("POST", path, token=token, body={"spec_hash": spec_hash})
        assert (answer.json["answer"], answer.json["declined"]) == ("declined", ["bea"])


@pytest.fixture
def alone(world: World) -> Path:
    world.found("ada")
    return world.home("ada")


def test_a_site_is_paused_and_resumed_over_http_or_by_command_alike(alone: Path) -> None:
    with served(alone) as site:
        token = site.token(*ALL)
        assert site.get("/v1/status")["paused"] is None
        paused = site.ask("POST", "/v1/pause", token=token, body={"reason": "new disks"}).json
        assert paused["reason"] == "new disks"
        assert done("status", "--home", alone)["paused"] == site.get("/v1/status")["paused"] == paused
        unhealthy = site.ask("GET", "/healthz")
        assert (unhealthy.status, [one["code"] for one in unhealthy.json["reasons"]]) == (503, ["paused"])
        again = done("pause", "--home", alone, "--reason", "still")
        assert (again["since"], again["reason"]) == (paused["since"], "still")
        assert site.ask("POST", "/v1/resume", token=token).json == {"was_paused": True}
        assert done("resume", "--home", alone)["was_paused"] is False
        assert site.ask("GET", "/healthz").status == 200


def test_a_pause_that_can_not_be_read_is_one(alone: Path) -> None:
    SiteFolder(alone).paused.write_bytes(b"[" * 100_000)
    with served(alone) as site:
        assert site.get("/v1/status")["paused"] == {"since": None, "reason": "paused.json can't be read"}
        assert site.ask("GET", "/healthz").status == 503


def test_a_site_is_stopped_after_it_has_answered(alone: Path) -> None:
    with served(alone) as site:
        answer = site.ask("POST", "/v1/stop", token=site.token(Scope.CONTROL))
        assert (answer.status, answer.json) == (202, {"stopping": True})
        assert site.ended.wait(30)
