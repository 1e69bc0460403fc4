"""The training process as the node sees it: whatever it does, there is an answer or a clear error, and no orphan."""

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from node import trainer as module
from node.errors import WorkerError
from node.trainer import Trainer

FAKE = Path(__file__).with_name("fake_worker.py")


@asynccontextmanager
async def worker(folder: Path, *words: str) -> AsyncIterator[Trainer]:
    """A trainer whose process answers each request as the words say."""
    trainer = Trainer(folder / "spec.json", {}, folder, [sys.executable, "-I", str(FAKE), str(folder), *words])
    try:
        yield trainer
    finally:
        await trainer.close()
        assert all(not lives(process) for process in started(folder))


def started(folder: Path) -> list[int]:
    """The numbers of the processes that were started, in no order."""
    return [int(file.name) for file in folder.iterdir() if file.name.isdecimal()]


def lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


async def until_started(folder: Path, count: int) -> None:
    while len(started(folder)) < count:
        await trio.sleep(0.01)


async def test_one_process_answers_one_request_after_the_other(tmp_path: Path) -> None:
    seen = []
    async with worker(tmp_path, "done") as trainer:
        first = await trainer.request("moments", progress=seen.append)
        second = await trainer.request("train", round=1)
    assert (first["op"], second["op"]) == ("moments", "train")
    assert first["pid"] == second["pid"]
    assert seen == [{"step": 1}]


async def test_requests_wait_for_each_other(tmp_path: Path) -> None:
    answers = []

    async def ask(op: str) -> None:
        answers.append((op, (await trainer.request(op))["op"]))

    async with worker(tmp_path, "done") as trainer, trio.open_nursery() as nursery:
        for op in ("moments", "train", "evaluate"):
            nursery.start_soon(ask, op)
    assert sorted(answers) == [("evaluate", "evaluate"), ("moments", "moments"), ("train", "train")]
    assert len(started(tmp_path)) == 1


async def test_an_error_has_its_cause_and_the_process_stays(tmp_path: Path) -> None:
    async with worker(tmp_path, "done", "error", "done") as trainer:
        with pytest.raises(WorkerError, match="row 7, column age: missing") as caught:
            await trainer.request("train")
        assert caught.value.cause == "swarm.data"
        await trainer.request("train")
    assert len(started(tmp_path)) == 1


async def test_an_error_at_the_opening_has_its_cause_and_the_next_request_opens_again(tmp_path: Path) -> None:
    async with worker(tmp_path, "error", "done") as trainer:
        for _ in range(2):
            with pytest.raises(WorkerError) as caught:
                await trainer.request("train")
            assert caught.value.cause == "swarm.data"
    assert len(started(tmp_path)) == 2


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("die", "died"),
        ("die-while-speaking", "died"),
        ("babble", "not JSON"),
        ("deep", "not JSON"),
        ("list", "not a reply"),
        ("unknown-event", "unknown reply 'coffee'"),
        ("overlong", "overlong"),
    ],
)
async def test_one_that_dies_or_speaks_nonsense_is_replaced(tmp_path: Path, word: str, says: str) -> None:
    async with worker(tmp_path, "done", word) as trainer:
        with pytest.raises(WorkerError, match=says) as caught:
            await trainer.request("train")
        assert caught.value.cause == ""
        assert all(not lives(process) for process in started(tmp_path))
        with pytest.raises(WorkerError, match=says):
            await trainer.request("moments")
    assert len(started(tmp_path)) == 2


async def test_what_a_replaced_process_had_still_to_say_answers_nothing(tmp_path: Path) -> None:
    words = ["done", "babble"]
    async with worker(tmp_path, *words) as trainer:
        with pytest.raises(WorkerError):
            await trainer.request("train")
        trainer._command[-1:] = ["done"]
        assert (await trainer.request("moments"))["op"] == "moments"


async def test_an_error_without_a_code_is_an_error_still(tmp_path: Path) -> None:
    async with worker(tmp_path, "done", "nameless-error", "done") as trainer:
        with pytest.raises(WorkerError) as caught:
            await trainer.request("train")
        assert caught.value.cause == "unknown"


async def test_a_process_that_was_killed_from_outside_is_replaced(tmp_path: Path) -> None:
    async with worker(tmp_path, "done") as trainer:
        first = await trainer.request("moments")
        os.kill(int(first["pid"]), signal.SIGKILL)
        with pytest.raises(WorkerError, match="died"):
            await trainer.request("train")
        assert (await trainer.request("train"))["pid"] != first["pid"]


async def test_a_cancelled_request_takes_the_process_with_it(tmp_path: Path) -> None:
    async with worker(tmp_path, "done", "silent") as trainer:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trainer.request, "train")
                while trainer._process is None or trainer._opening_until is not None:
                    await trio.sleep(0.01)
                scope.cancel()
        assert all(not lives(process) for process in started(tmp_path))
        trainer._command[-1:] = ["done"]
        assert (await trainer.request("moments"))["op"] == "moments"


async def test_a_process_that_opens_its_data_when_its_request_is_cancelled_is_ready_for_the_next(
    tmp_path: Path,
) -> None:
    async with worker(tmp_path, "when-told", "done") as trainer:
        for _ in range(3):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trainer.request, "train")
                    await until_started(tmp_path, 1)
                    scope.cancel()
        (only,) = started(tmp_path)
        (tmp_path / "go").touch()
        assert (await trainer.request("train"))["pid"] == only


async def test_a_process_that_does_not_start_in_time_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "START_SECONDS", 0.2)
    async with worker(tmp_path, "silent") as trainer:
        with pytest.raises(WorkerError, match="did not start within"):
            await trainer.request("train")


@pytest.mark.parametrize("command", ["/nowhere/python", "."])
async def test_a_command_that_cannot_be_started_is_named(tmp_path: Path, command: str) -> None:
    trainer = Trainer(tmp_path / "spec.json", {}, tmp_path, [command])
    with pytest.raises(WorkerError, match="can't be started"):
        await trainer.request("train")
