"""Reading a node's log, and asking a node to stop, without a node."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from operator_world import QUICK_SCRYPT, done, refused, swarm_node

from node import log
from node.operator import logs
from node.operator.founding import NewSite, init_site
from node.operator.logs import Wanted, following, in_words, tail
from node.operator.stopping import stop
from node.site_folder import SiteFolder

LINES = [
    {"event": "committed", "study": 1, "round": 1, "level": "info", "timestamp": "2026-01-01T00:00:00Z"},
    {"event": "action_failed", "study": 1, "round": 2, "level": "error", "reason": "x"},
    {"event": "committed", "study": 2, "round": 1, "level": "info"},
    {"event": "peer_fault", "level": "warning", "detail": "\x1b[2J"},
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    settings = {"name": "ada", "rpc": "http://127.0.0.1:9"}
    init_site(NewSite(tmp_path / "ada", settings, None, scrypt_rounds=QUICK_SCRYPT))
    return tmp_path / "ada"


def write(path: Path, lines: list[dict[str, Any]], how: str = "w") -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open(how) as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


@pytest.fixture
def file(home: Path) -> Path:
    """A log that was turned over once, with half a line of a node that was killed."""
    folder = SiteFolder(home).logs
    write(folder / f"{log.FILE_NAME}.1", LINES[:2])
    write(folder / log.FILE_NAME, LINES[2:])
    with (folder / log.FILE_NAME).open("a") as end:
        end.write('{"event": "cut')
    return folder / log.FILE_NAME


@pytest.mark.parametrize(
    ("options", "events"),
    [
        ([], [0, 1, 2, 3]),
        (["--study", 1], [0, 1]),
        (["--study", 1, "--round", 2], [1]),
        (["--level", "warning"], [1, 3]),
        (["--event", "committed"], [0, 2]),
        (["--lines", 2], [2, 3]),
        (["--event", "committed", "--lines", 1], [2]),
    ],
    ids=str,
)
def test_lines_are_chosen_over_all_files(home: Path, file: Path, options: list[Any], events: list[int]) -> None:
    said = done("logs", "--home", home, *options)
    assert said["file"] == str(file)
    assert said["records"] == [LINES[index] for index in events]


def test_a_person_reads_lines_that_do_nothing_to_the_terminal(home: Path, file: Path) -> None:
    shown = swarm_node("logs", "--home", home).stdout.splitlines()
    assert shown[0] == "2026-01-01 00:00:00 info    committed  study=1  round=1"
    assert len(shown) == len(LINES)
    assert "\x1b" not in "".join(shown)


def test_any_file_may_be_named_and_one_that_is_not_there_is(home: Path, tmp_path: Path) -> None:
    write(tmp_path / "other", LINES[:1])
    assert done("logs", "--home", home, "--file", tmp_path / "other")["records"] == LINES[:1]
    assert "there is no log" in refused("logs", "--home", home)[1]


def test_what_is_no_log_gives_no_lines(tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(b"\x00\xff\n[1]\n" + b"[" * 100_000 + b"\n\n3\n")
    assert tail(tmp_path / "garbage", Wanted(), 10) == []


def test_following_goes_on_where_a_file_is_turned_over(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LOOK_SECONDS", 0.01)
    write(file, LINES)
    come = following(file, Wanted(level="warning"))
    steps = iter(
        [
            lambda: write(file, [LINES[0], LINES[1]], "a"),
            lambda: (write(file, [LINES[3]], "a"), file.rename(f"{file}.1"), write(file, [LINES[1]])),
        ]
    )
    # What is written comes only after the reader has gone to the end, so each step waits for the reader to rest.
    monkeypatch.setattr(logs.time, "sleep", lambda _: next(steps, _nothing)())
    assert [next(come) for _ in range(3)] == [LINES[1], LINES[3], LINES[1]]
    come.close()


def _nothing() -> None:
    pytest.fail("nothing more is written")


def test_a_nodes_log_is_bounded_private_and_says_what_the_terminal_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], restored_logging: None
) -> None:
    monkeypatch.setattr(log, "FILE_BYTES", 2000)
    log.configure(folder=tmp_path / "logs", site="ada")
    for number in range(200):
        log.get().info("committed", number=number)
    said = [json.loads(line) for line in capfd.readouterr().err.splitlines() if '"committed"' in line]
    kept = tail(tmp_path / "logs" / log.FILE_NAME, Wanted(), 1000)
    assert [line["number"] for line in said] == list(range(200))
    assert kept == said[-len(kept) :]
    files = list((tmp_path / "logs").iterdir())
    assert len(files) == 1 + log.OLDER_FILES
    assert all(file.stat().st_size <= 2000 and file.stat().st_mode & 0o077 == 0 for file in files)
    assert in_words(kept[-1]).endswith("committed  number=199")


@pytest.fixture
def restored_logging() -> Iterator[None]:
    yield
    log.configure()


# -- stopping --------------------------------------------------------------------------------------------------------


def test_a_node_is_asked_and_waited_for(home: Path) -> None:
    folder = SiteFolder(home)
    held = threading.Event()

    def node() -> None:
        with folder.lock():
            held.set()
            while not folder.stop_request.exists():
                pass

    thread = threading.Thread(target=node)
    thread.start()
    assert held.wait(30)
    assert stop(folder, 30) is True
    assert not folder.is_locked()
    thread.join()
    assert stop(folder, 30) is False


def test_a_node_that_does_not_stop_is_said(home: Path) -> None:
    with SiteFolder(home).lock():
        code, message = refused("stop", "--home", home, "--timeout", 0.2)
    assert (code, "has not stopped within 0.2 s" in message) == ("node.operator", True)
