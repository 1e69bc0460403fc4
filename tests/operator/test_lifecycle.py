"""A running site's life with real processes: paused, resumed, watched, stopped, and its lost model fetched again."""

import socket
from contextlib import ExitStack
from pathlib import Path
from shutil import rmtree

import pytest
from api_world import accept
from operator_world import World, done, envelope, refused, swarm_node
from prometheus_client.parser import text_string_to_metric_families

from node import config as configuration
from node.operator.health import ask_health
from node.site_folder import SiteFolder
from swarm import studies
from swarm.model_file import model_hash
from tests.node.site_world import Process, await_, running

pytestmark = pytest.mark.slow


def with_api(home: Path) -> int:
    """Turn a site's HTTP interface on, at a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = int(found.getsockname()[1])
    config = home / "config.toml"
    config.write_text(f'{config.read_text()}\n[api]\nlisten = "127.0.0.1:{port}"\n')
    return port


def small_study(path: Path) -> Path:
    text = studies.text("breast-cancer").replace("rounds = 12", "rounds = 2")
    for before, after in {"min_sites = 3": "min_sites = 2", "collect_seconds = 120": "collect_seconds = 600"}.items():
        assert before in text
        text = text.replace(before, after)
    path.write_text(text, encoding="utf-8")
    return path


def get(port: int, path: str, token: str) -> bytes:
    from http.client import HTTPConnection

    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers={"authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.status == 200, body
    return body


def test_a_site_is_paused_resumed_watched_stopped_and_gets_its_model_back(consortium: World) -> None:
    ada, bea, cleo = (consortium.home(name) for name in ("ada", "bea", "cleo"))
    study = done("study", "propose", "--home", ada, small_study(consortium.folder / "small.toml"), "--yes")["study"]
    accept(consortium, study, "ada", "bea")
    done("study", "decline", "--home", cleo, study)
    port = with_api(ada)
    with ExitStack() as stack:
        done("pause", "--home", ada, "--reason", "new disks")
        sites = {home: stack.enter_context(running(home)) for home in (ada, bea)}
        sites[bea].until("committed")
        sites[ada].until("api_started")
        await_(lambda: "paused" in ailing(ada) and "no_peers" not in ailing(ada), "a paused site's health")
        status = done("status", "--home", ada)
        assert (status["node_running"], status["paused"]["reason"]) == (True, "new disks")
        assert status["studies"][0]["waits_for"] == "collecting: waiting for ada"
        assert not sites[ada].events("trained")
        assert not sites[ada].events("committed")
        done("resume", "--home", ada)
        final = sites[ada].until("study_finished")["model"]
        check_watched(ada, port, study, final)
        assert "it was here already" in swarm_node("model", "pull", "--home", ada, study).stdout
        check_stopped(ada, sites[ada])
        sites[bea].until("study_finished")
        check_pulled(ada, study, final)
        code, message = refused("model", "pull", "--home", cleo, study)
        assert (code, f"did not take part in study {study}" in message) == ("node.operator", True)
        assert done("stop", "--home", bea)["was_running"]
    assert "no site could give it" in lose_and_pull(ada, study)


def ailing(home: Path) -> set[str]:
    """Why a site is of no use, as a container's health check hears it."""
    _, answer = envelope("health", "--home", home)
    return {one["code"] for one in answer["data"].get("reasons", ())}


def check_watched(home: Path, port: int, study: int, final: str) -> None:
    """Health, metrics and log tell of the study that was finished."""
    folder = SiteFolder(home)
    assert ask_health(folder, configuration.load(home)) == {"status": "ok", "reasons": []}
    token = done("token", "new", "--home", home)["token"]
    families = text_string_to_metric_families(get(port, "/metrics", token).decode())
    figures = {sample.name: sample.value for family in families for sample in family.samples}
    assert figures["swarm_rounds_final_total"] == 3
    assert figures["swarm_round_seconds_count"] == 3
    assert figures["swarm_training_seconds_total"] > 0
    assert figures["swarm_peer_sent_bytes_total"] > 0
    assert b'"last":true' in get(port, f"/v1/models/{final}", token)
    (record,) = done("logs", "--home", home, "--study", study, "--event", "study_finished")["records"]
    assert record["model"] == final
    shown = swarm_node("logs", "--home", home, "--study", study, "--round", 1).stdout
    assert {line.split()[3] for line in shown.splitlines()} >= {"trained", "round_timing"}
    assert token not in (folder.logs / "node.log").read_text()


def check_stopped(home: Path, site: Process) -> None:
    """The node has ended by itself, cleanly, by the time that the command has."""
    assert done("stop", "--home", home)["was_running"] is True
    code, said = site.end()
    assert (code, said["status"]) == (0, "ok")
    assert not done("status", "--home", home)["node_running"]
    assert done("stop", "--home", home)["was_running"] is False
    assert "does the node run?" in refused("health", "--home", home)[1]


def check_pulled(home: Path, study: int, final: str) -> None:
    """What the disk has lost comes back from the other site, and is what the ledger says."""
    lose(home, study)
    pulled = done("model", "pull", "--home", home, study)
    assert (pulled["model"], pulled["fetched"]) == (final, True)
    assert model_hash(Path(pulled["file"])).hex() == final
    out = home / "exported"
    assert "standardisation.json" in done("model", "export", "--home", home, study, "--out", out)["files"]


def lose(home: Path, study: int) -> None:
    rmtree(SiteFolder(home).blobs)
    rmtree(SiteFolder(home).study(study))


def lose_and_pull(home: Path, study: int) -> str:
    """Try again while nobody is there to ask."""
    lose(home, study)
    return refused("model", "pull", "--home", home, study, "--timeout", 1)[1]
