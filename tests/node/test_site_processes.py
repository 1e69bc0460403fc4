"""Real site processes: told to leave, killed, given data that doesn't fit, and with the chain reset under them."""

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from shutil import rmtree

import psutil
import pytest
from site_world import Process, await_, copy_site, make_scene, running

from ledger.devnet import Devnet
from node.demo.scene import Scene
from node.site_folder import SiteFolder
from swarm import studies
from swarm.memory_store import MemoryStore
from swarm.models import write_initial
from swarm.spec import StudySpec

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def spec() -> StudySpec:
    """A study that awaits all four members."""
    draft = studies.draft("breast-cancer")
    return draft.with_initial(write_initial(draft, MemoryStore()).blob)


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    with Devnet.start(tmp_path_factory.mktemp("devnet")) as devnet:
        yield devnet


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, devnet: Devnet, spec: StudySpec) -> Scene:
    return make_scene(tmp_path_factory.mktemp("scene"), devnet, spec)


def worker_of(process: Process) -> psutil.Process:
    """The training process, once it is open."""
    return psutil.Process(process.until("worker_started")["pid"])


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_signals_and_kills_leave_no_process_behind(scene: Scene, spec: StudySpec, tmp_path: Path) -> None:
    ways = {signal.SIGTERM: 0, signal.SIGINT: 0, signal.SIGKILL: -signal.SIGKILL}
    with ExitStack() as stack:
        homes = [copy_site(scene, tmp_path, number, accept=[spec.hash.hex()]) for number in range(len(ways))]
        sites = [stack.enter_context(running(home)) for home in homes]
        for site in sites:
            site.until("study_accepted")
        workers = [worker_of(site) for site in sites]
        for site, (way, code), worker in zip(sites, ways.items(), workers, strict=True):
            ended, envelope = site.end(way)
            assert ended == code
            if code == 0:
                assert envelope == {"schema": 1, "status": "ok", "code": "ok", "data": {}}
                assert site.events("site_stopped")
            await_(lambda worker=worker: is_gone(worker), "the end of the training process")


def test_data_that_does_not_fit_is_named_and_the_node_goes_on(scene: Scene, spec: StudySpec, tmp_path: Path) -> None:
    columns = [feature.name for feature in spec.data.features] + [spec.data.label]
    rows = [[*("1" for _ in spec.data.features), spec.data.classes[number % 2]] for number in range(20)]
    rows[6][2] = "a lot"
    table = "\n".join(",".join(row) for row in [columns, *rows])
    with ExitStack() as stack:
        sources = [{"source": "csv", "path": "patients.csv"}, {"source": "csv", "path": "nowhere.csv"}]
        homes = [
            copy_site(scene, tmp_path, number, accept=[spec.hash.hex()], data=data)
            for number, data in enumerate(sources)
        ]
        (homes[0] / "patients.csv").write_text(table)
        wrong, missing = [stack.enter_context(running(home)) for home in homes]
        reason = wrong.until("study_refused")["reason"]
        assert "patients.csv" in reason
        assert "mean perimeter" in reason
        assert "8" in reason  # the line of the file
        assert "swarm.data" in reason
        assert str(homes[1] / "nowhere.csv") in missing.until("study_refused")["reason"]
        for site in (wrong, missing):
            assert site.popen.poll() is None
            assert site.end(signal.SIGTERM)[0] == 0


def test_a_node_that_does_not_answer_does_not_keep_a_site_from_leaving(scene: Scene, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        home = copy_site(scene, tmp_path, rpc=f"http://127.0.0.1:{mute.getsockname()[1]}")
        with running(home) as site:
            call, _ = mute.accept()
            with call:
                assert call.recv(1)  # from here on the site waits for the answer
                code, envelope = site.end(signal.SIGTERM)
    assert (code, envelope["status"]) == (0, "ok")
    assert not site.events("rpc_unreachable")


def test_a_chain_that_was_reset_stops_the_site_and_harms_nothing_on_its_disk(spec: StudySpec, tmp_path: Path) -> None:
    chain = tmp_path / "chain"
    with ExitStack() as stack:
        devnet = stack.enter_context(Devnet.start(chain))
        scene = make_scene(tmp_path / "scene", devnet, spec)
        home = copy_site(scene, tmp_path, accept=[spec.hash.hex()])
        site = stack.enter_context(running(home))
        site.until("study_accepted")
        worker = worker_of(site)
        before = kept(home)
        devnet.stop()
        rmtree(chain)
        stack.enter_context(Devnet.start(chain))
        code, envelope = site.end()
        assert (code, envelope["status"], envelope["code"]) == (1, "error", "ledger.chain_mismatch")
        assert "reset" in envelope["data"]["message"]
        assert is_gone(worker)
        assert kept(home) == before
        with running(home) as again:
            code, envelope = again.end()
            assert (code, envelope["code"]) == (1, "ledger.chain_mismatch")
        assert kept(home) == before


def test_a_chain_that_goes_away_and_comes_back_is_waited_for(spec: StudySpec, tmp_path: Path) -> None:
    with Devnet.start(tmp_path / "chain") as devnet:
        scene = make_scene(tmp_path / "scene", devnet, spec)
        with running(copy_site(scene, tmp_path)) as site:
            site.until("site_started")
            devnet.stop()
            site.until("rpc_unreachable")
            with Devnet.start(tmp_path / "chain"):
                site.until("rpc_reachable_again")
                assert site.end(signal.SIGTERM)[0] == 0


def kept(home: Path) -> dict[str, bytes]:
    """Everything that a site has on its disk, but for its logs and what it said."""
    folder = SiteFolder(home)
    files = [file for file in home.rglob("*") if file.is_file() and file.name not in ("log", "out", ".lock")]
    files = [file for file in files if not file.is_relative_to(folder.logs)]
    assert folder.keystore in files
    assert any(file.is_relative_to(folder.blobs) for file in files)
    return {str(file): file.read_bytes() for file in files}
