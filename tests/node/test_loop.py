"""A training loop and its site's node: whoever comes late, leaves or starts again, updates are of the right base."""

import json
import os
import socket
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trio

from node import loop as module
from node.errors import StudyRefused, WorkerError
from node.loop import Loop
from node.trainer import hold_against
from swarm.errors import LayoutDiffers, LoopError, UpdateError
from swarm.folder_store import FolderStore
from swarm.loop.callback import SwarmCallback
from swarm.loop.meeting import address, encode, hello, socket_in, state_in
from swarm.loop.module import OwnModule, save
from swarm.manifest import layout_elements
from swarm.merge import check_input, merge_updates
from swarm.model_file import import_safetensors
from swarm.spec import StudySpec
from swarm.weights import read_vector, write_vector
from tests.swarm.loop_samples import descend, loop_spec, small_module

STUDY = 7
SAMPLES = 40


@dataclass
class Hospital:
    """A site's folder with one study in it, the node's side of the loop, and training programs in threads."""

    home: Path
    spec: StudySpec
    said: list[str] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "spec.json").write_bytes(self.spec.canonical())
        self.store = FolderStore(self.home / "blobs")
        self.loop = Loop(self.spec, self.folder, self.store)

    @property
    def folder(self) -> Path:
        return self.home / "studies" / str(STUDY)

    async def train(self, number: int, base: bytes) -> dict[str, Any]:
        return await self.loop.request("train", round=number, base=base.hex(), moments=None)

    def store_model(self, value: float) -> bytes:
        """Keep a model whose numbers are all the same."""
        layout = self.spec.model.tensors
        return write_vector(self.store, np.full(layout_elements(layout), value, np.float32), layout).blob

    async def restart(self) -> None:
        await self.loop.close()
        self.loop = Loop(self.spec, self.folder, self.store)

    def callback(self, model: torch.nn.Module, **options: Any) -> SwarmCallback:
        given = {"home": self.home, "study": STUDY, "samples": SAMPLES, "tell": self.said.append, **options}
        return SwarmCallback(model, **given)

    def start(self, program: Callable[[], None]) -> None:
        """Run somebody's training program."""

        def run() -> None:
            try:
                program()
            except BaseException as error:  # noqa: BLE001 - the test raises it
                self.errors.append(error)

        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()

    async def ended(self) -> None:
        """Wait until every program has, and raise what one raised."""
        while any(thread.is_alive() for thread in self.threads):
            await trio.sleep(0.01)
        for error in self.errors:
            raise error


@asynccontextmanager
async def hospital(home: Path, spec: StudySpec | None = None) -> AsyncIterator[Hospital]:
    here = Hospital(home, spec or loop_spec())
    try:
        await hold_against(here.spec, here.loop)
        yield here
    finally:
        await here.loop.close()


def whole_training(here: Hospital, model: torch.nn.Module, **options: Any) -> SwarmCallback:
    """A loop that goes on until the study is over."""
    swarm = here.callback(model, **options)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def program() -> None:
        swarm.on_train_begin()
        while not swarm.finished:
            swarm.on_batch_end(descend(model, optimizer))
        swarm.on_train_end()

    here.start(program)
    return swarm


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await trio.sleep(0.01)


def merge(here: Hospital, base: bytes, update: dict[str, Any]) -> bytes:
    """What the swarm makes of this site's update, as its only one."""
    blob = bytes.fromhex(update["blob"])
    rule = here.spec.merge_rule(here.spec.model.tensors)
    assert check_input(here.store, blob, rule) is None
    return merge_updates(here.store, base, [(blob, update["weight"])], rule).blob


async def test_a_loop_trains_round_after_round_from_each_base_and_ends_with_the_final_model(tmp_path: Path) -> None:
    model = small_module()
    measured: list[float] = []

    def measure() -> dict[str, float]:
        measured.append(float(OwnModule(model).read().sum()))
        return {"sum": measured[-1], "nothing": float("nan")}

    async with hospital(tmp_path) as here:
        swarm = whole_training(here, model, evaluate=measure)
        base = here.spec.initial
        for number in (1, 2, 3):
            update = await here.train(number, base)
            assert (update["weight"], update["steps"]) == (SAMPLES, 2)
            assert update["loss"] > 0
            base = merge(here, base, update)
        reply = await here.loop.request("evaluate", model=base.hex(), moments=None)
        await here.ended()
    assert reply == {"metrics": {"sum": measured[0]}}
    assert swarm.finished
    final, _ = read_vector(here.store, base)
    assert (OwnModule(model).read() == final).all()
    assert not socket_in(here.folder).exists()


async def test_the_update_is_what_the_loop_did_from_the_base_and_buffers_travel_too(tmp_path: Path) -> None:
    model, twin = small_module(), small_module()
    async with hospital(tmp_path) as here:
        whole_training(here, model)
        update = await here.train(1, here.spec.initial)
        merged, layout = read_vector(here.store, merge(here, here.spec.initial, update))
        OwnModule(twin).load(read_vector(here.store, here.spec.initial)[0])
        optimizer = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)
        for _ in range(2):
            descend(twin, optimizer)
        assert np.abs(merged - OwnModule(twin).read()).max() < 1e-6
        assert {"1.running_mean", "1.running_var"} < {tensor.name for tensor in layout}
        assert "1.num_batches_tracked" not in {tensor.name for tensor in layout}
        await here.loop.request("evaluate", model=here.spec.initial.hex(), moments=None)
        await here.ended()


async def test_the_site_waits_for_a_loop_that_is_not_there_yet_and_says_so(tmp_path: Path) -> None:
    async with hospital(tmp_path) as here, trio.open_nursery() as nursery:
        nursery.start_soon(here.train, 1, here.spec.initial)
        await until(lambda: state_in(here.folder).exists())
        assert "waiting for this site's training loop" in json.loads(state_in(here.folder).read_text())["says"]
        nursery.cancel_scope.cancel()
    async with hospital(tmp_path) as here:
        whole_training(here, small_module())
        assert (await here.train(1, here.spec.initial))["steps"] == 2
        assert not state_in(here.folder).exists()
        await here.loop.request("evaluate", model=here.spec.initial.hex(), moments=None)
        await here.ended()


async def test_a_loop_waits_for_a_node_that_is_not_there_yet(tmp_path: Path) -> None:
    spec = loop_spec()
    early = Hospital.__new__(Hospital)  # a folder in which no node has run
    early.home, early.spec, early.said, early.errors, early.threads = tmp_path, spec, [], [], []
    whole_training(early, small_module())
    await until(lambda: bool(early.said))
    assert "begin study 7" in early.said[0]
    async with hospital(tmp_path, spec) as here:
        assert (await here.train(1, spec.initial))["steps"] == 2
        await here.loop.request("evaluate", model=spec.initial.hex(), moments=None)
        await early.ended()


async def test_a_node_that_restarts_gets_the_update_that_was_made_meanwhile(tmp_path: Path) -> None:
    model = small_module()
    async with hospital(tmp_path, loop_spec(training={"local_steps": 4})) as here:
        swarm = here.callback(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        half, restarted, steps = threading.Event(), threading.Event(), []

        def program() -> None:
            swarm.on_train_begin()
            while not swarm.finished:
                steps.append(swarm.round)
                if len(steps) == 3:
                    half.set()
                    restarted.wait(30)
                swarm.on_batch_end(descend(model, optimizer))
            swarm.on_train_end()

        here.start(program)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(here.train, 1, here.spec.initial)
                await until(half.is_set)
                scope.cancel()
        await here.restart()
        restarted.set()
        update = await here.train(1, here.spec.initial)
        assert update["steps"] == 4, "what was trained before the restart counts"
        assert steps[:4] == [1, 1, 1, 1]
        await here.loop.request("evaluate", model=here.spec.initial.hex(), moments=None)
        await here.ended()


async def test_a_loop_that_dies_is_replaced_by_the_next_one(tmp_path: Path) -> None:
    async with hospital(tmp_path) as here:
        updates: list[dict[str, Any]] = []

        async def train() -> None:
            updates.append(await here.train(1, here.spec.initial))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(train)
            dying = here.callback(small_module())
            here.start(dying.on_train_begin)
            await until(lambda: dying.round == 1)
            dying._begun().link.close()
            whole_training(here, small_module())
        assert updates[0]["steps"] == 2
        await here.loop.request("evaluate", model=here.spec.initial.hex(), moments=None)
        await here.ended()


async def test_where_the_swarm_went_on_without_it_a_loop_drops_its_work_for_the_newer_base(tmp_path: Path) -> None:
    model = small_module()
    async with hospital(tmp_path, loop_spec(training={"local_steps": 1000})) as here:
        swarm = whole_training(here, model)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(here.train, 1, here.spec.initial)
                await until(lambda: swarm.round == 1)
                scope.cancel()
        newer = here.store_model(0.5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.train, 2, newer)
            await until(lambda: swarm.round == 2)
            base = swarm._begun().base
            assert (base == 0.5).all()
            nursery.cancel_scope.cancel()
        await here.loop.request("evaluate", model=newer.hex(), moments=None)
        await here.ended()


async def test_a_loop_that_comes_after_the_end_finds_the_final_model_without_a_node(tmp_path: Path) -> None:
    model = small_module()
    async with hospital(tmp_path) as here:
        final = here.store_model(0.25)
    (here.folder / "result.json").write_text(json.dumps({"model": final.hex(), "metrics": None}))
    swarm = whole_training(here, model)
    await here.ended()
    assert swarm.finished
    assert (OwnModule(model).read() == 0.25).all()


async def test_a_study_that_was_aborted_ends_its_loops(tmp_path: Path) -> None:
    async with hospital(tmp_path) as here:
        here.loop.ended("study 7 was aborted: it has no final model")
        whole_training(here, small_module())
        with pytest.raises(LoopError, match="study 7 was aborted"):
            await here.ended()


async def test_a_loop_that_ends_before_its_study_still_gets_the_final_model(tmp_path: Path) -> None:
    model = small_module()
    async with hospital(tmp_path) as here:
        swarm = here.callback(model)

        def program() -> None:
            swarm.on_train_begin()
            swarm.on_train_end()

        here.start(program)
        with trio.move_on_after(10) as waited:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(here.train, 1, here.spec.initial)
                await until(lambda: any("ended before its study" in one for one in here.said))
                waited.cancel()
        final = here.store_model(0.75)
        await here.loop.request("evaluate", model=final.hex(), moments=None)
        await here.ended()
    assert (OwnModule(model).read() == 0.75).all()


async def test_a_finished_study_waits_for_no_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FAREWELL_SECONDS", 0.05)
    async with hospital(tmp_path) as here:
        assert await here.loop.request("evaluate", model=here.spec.initial.hex(), moments=None) == {"metrics": None}


async def test_another_model_is_refused_naming_the_tensors_that_differ(tmp_path: Path) -> None:
    other = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.BatchNorm1d(3), torch.nn.ReLU())
    async with hospital(tmp_path) as here:
        whole_training(here, other)
        with pytest.raises(LayoutDiffers) as caught:
            await here.ended()
    assert "0.weight is [4, 2], not [3, 2]" in str(caught.value)
    assert "3.bias [1] is missing" in str(caught.value)


async def test_nothing_leaves_a_site_with_too_few_records(tmp_path: Path) -> None:
    async with hospital(tmp_path) as here:
        whole_training(here, small_module(), samples=9)
        with pytest.raises(UpdateError, match="9 records: nothing leaves a site with fewer than 10"):
            await here.ended()


async def test_training_that_diverged_gives_no_update_and_both_sides_say_why(tmp_path: Path) -> None:
    model = small_module()
    async with hospital(tmp_path, loop_spec(training={"local_steps": 1})) as here:
        swarm = here.callback(model)

        def program() -> None:
            swarm.on_train_begin()
            with torch.no_grad():
                next(model.parameters()).fill_(float("nan"))
            swarm.on_batch_end()

        before = None
        here.start(program)
        await until(lambda: here.store.has(here.spec.initial))
        before = here.store.blobs()
        with pytest.raises(WorkerError, match="isn't finite") as caught:
            await here.train(1, here.spec.initial)
        assert caught.value.cause == "swarm.update"
        assert here.store.blobs() == before
        with pytest.raises(UpdateError, match="isn't finite"):
            await here.ended()


async def test_a_study_of_the_built_in_training_is_none_for_loops(tmp_path: Path) -> None:
    spec = loop_spec()
    record = spec.model_dump(mode="json")
    record["model"] = {"architecture": "logistic", "initial": "00" * 32}
    here = Hospital(tmp_path, spec)
    (here.folder / "spec.json").write_bytes(StudySpec.model_validate(record).canonical())
    whole_training(here, small_module())
    with pytest.raises(LoopError, match="built-in model 'logistic'"):
        await here.ended()


def connect(folder: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with address(socket_in(folder)) as path:
        connection.connect(path)
    return connection


@contextmanager
def socket_listening(here: Hospital) -> Iterator[None]:
    """The node's socket, which it opens for its first request."""
    here.loop._listening()
    yield


STRANGERS = {
    "another protocol": (encode({"event": "hello", "protocol": 99, "study": ""}), "version 99"),
    "another study": (hello(bytes(32)), "another specification"),
    "no hello": (encode({"event": "done"}), "protocol"),
    "nonsense": (b"\xff\xfe\n", ""),
    "deep": (b"[" * 100_000 + b"\n", ""),
    "silence": (b"", ""),
}


@pytest.mark.parametrize("who", STRANGERS)
async def test_a_stranger_is_sent_away_and_the_loop_behind_it_served(
    tmp_path: Path, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HELLO_SECONDS", 0.2 if who == "silence" else 10.0)
    line, says = STRANGERS[who]
    async with hospital(tmp_path) as here:
        with socket_listening(here):
            stranger = connect(here.folder)
        stranger.sendall(line)
        whole_training(here, small_module())
        assert (await here.train(1, here.spec.initial))["steps"] == 2
        stranger.settimeout(10)
        answer = read_all(stranger)
        assert says in answer.decode()
        await here.loop.request("evaluate", model=here.spec.initial.hex(), moments=None)
        await here.ended()


@pytest.mark.parametrize("weight", [9, "40", None, True])
async def test_an_update_of_too_few_records_is_refused_whatever_program_made_it(tmp_path: Path, weight: object) -> None:
    async with hospital(tmp_path) as here:
        with socket_listening(here):
            program = connect(here.folder)
        program.sendall(hello(here.spec.hash) + encode({"event": "done", "blob": "00" * 32, "weight": weight}))
        with pytest.raises(WorkerError, match="nothing leaves a site with fewer than 10"):
            await here.train(1, here.spec.initial)
        program.close()


async def test_a_loop_that_leaves_while_it_measures_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async with hospital(tmp_path) as here:
        with socket_listening(here):
            program = connect(here.folder)
        program.sendall(hello(here.spec.hash))
        program.shutdown(socket.SHUT_WR)
        assert await here.loop.request("evaluate", model=here.spec.initial.hex(), moments=None) == {"metrics": None}
        program.close()


def read_all(connection: socket.socket) -> bytes:
    """Everything up to the end, however that comes."""
    answer = b""
    try:
        while data := connection.recv(4096):
            answer += data
    except ConnectionResetError:
        pass
    connection.close()
    return answer


async def test_only_the_sites_own_user_may_connect_however_long_the_path(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 90) / ("b" * 90)
    deep.mkdir(parents=True)
    old = os.umask(0)
    try:
        async with hospital(deep) as here:
            with socket_listening(here):
                assert stat.S_IMODE(socket_in(here.folder).stat().st_mode) == 0o600
                connect(here.folder).close()
    finally:
        os.umask(old)


async def test_a_study_that_starts_from_a_model_that_was_brought_needs_its_file(tmp_path: Path) -> None:
    model = small_module()
    blob = save(model, tmp_path / "pretrained.safetensors")
    spec = loop_spec(model, model={"initial": blob.hex()})
    here = Hospital(tmp_path / "site", spec)
    with pytest.raises(StudyRefused, match="model import"):
        await hold_against(spec, here.loop)
    import_safetensors(tmp_path / "pretrained.safetensors", here.store)
    await hold_against(spec, here.loop)
