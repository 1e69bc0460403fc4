"""Which studies a site takes part in, and what becomes of one that something goes wrong with."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from ledger_script import NAMES, RunnerWorld

from ledger.errors import ChainMismatch, RpcUnreachable, TransactionTimeout
from ledger.reverts import StudyNotParticipant
from node import config, pausing, trainers
from node.errors import WorkerError
from node.identity import Identity
from node.participation import Participation
from node.site_folder import SiteFolder
from node.study_folder import StudyFolder

VIRTUAL_CLOCK = True

OTHERS = NAMES[1:]
METRICS = {"metrics": {"auc": 0.9}}


class World(RunnerWorld):
    """`ada` is a member, and the three others run a study."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, sites: Sequence[str] = OTHERS) -> None:
        super().__init__(folder / "unused", sites=sites)
        self.home = folder
        self.sources: list[dict[str, Any]] = []
        self.opened = 0
        self.failures: list[WorkerError] = []
        monkeypatch.setattr(trainers, "Trainer", self._trainer)

    def _trainer(self, spec: Path, data: dict[str, Any], store: Path, command: Sequence[str]) -> "World":
        assert spec.read_bytes() == self.spec.canonical()
        self.sources.append(data)
        return self

    async def request(self, op: str, **fields: Any) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        if op == "initial":
            self.opened += 1
            if self.failures:
                raise self.failures.pop(0)
            return {"blob": self.spec.model.initial}
        if op == "evaluate":
            return METRICS
        return await self.trainer.request(op, **fields)

    async def close(self) -> None:
        """As a trainer's."""

    def agreeing(self, **settings: Any) -> Participation:
        """A site whose operator agreed to the study."""
        fields = {"name": "ada", "rpc": "http://x", "accept": [self.spec.hash.hex()], **settings}
        me = Identity("ada", b"k" * 32)
        chain: Any = self.chain
        given = config.validate(fields, "here")
        return Participation(SiteFolder(self.home), given, me, chain, self.store, None, self.tally)

    @property
    def folder(self) -> StudyFolder:
        return StudyFolder(SiteFolder(self.home).study(1))

    def play_to_the_end(self, final: bytes) -> None:
        for number in range(1, self.spec.training.rounds + 1):
            self.chain.play_round(number, {"bea": bytes(31) + b"b", "cleo": bytes(31) + b"c"}, final)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


@asynccontextmanager
async def running(world: World, **settings: Any) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.agreeing(**settings).run, world.network)
        yield
        nursery.cancel_scope.cancel()


def accepted(world: World) -> bool:
    return "ada" in world.chain.studies[1].sites


async def test_a_study_that_the_operator_agreed_to_is_accepted(world: World) -> None:
    async with running(world):
        await world.chain.until(lambda: accepted(world))
    assert world.sent[0][0] == "accept"


async def test_any_other_study_is_left_alone(world: World) -> None:
    async with running(world, accept=["ab" * 32]):
        await trio.sleep(100)
    assert world.opened == 0
    assert world.sent == []


async def test_the_policy_has_the_last_word_whoever_agreed(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    (world.home / "policy.toml").write_text("max_rounds = 1\n")
    async with running(world):
        await trio.sleep(100)
    assert (world.opened, world.sent) == (0, [])
    assert "max_rounds: its number of rounds is 5; at most 1 is allowed" in capsys.readouterr().out


async def test_nothing_runs_under_a_policy_that_can_not_be_read_until_it_can(world: World) -> None:
    (world.home / "policy.toml").write_text("max_rounds =")
    async with running(world):
        await trio.sleep(100)
        assert (world.opened, world.sent) == (0, [])
        (world.home / "policy.toml").unlink()
        await world.chain.until(lambda: accepted(world))


async def test_a_study_that_was_accepted_elsewhere_is_taken_up(world: World) -> None:
    """By the operator's command, while the node runs."""
    async with running(world, accept=[]):
        await trio.sleep(10)
        assert world.opened == 0
        world.chain.ledger.accept(1, world.spec.hash, world.reveals.tip)
        await trio.sleep(10)
        assert world.opened == 1


async def test_relative_paths_of_the_data_start_from_the_sites_folder(world: World) -> None:
    data = {"source": "csv", "path": "patients.csv", "test_path": "/data/test.csv", "seed": 3}
    async with running(world, data=data):
        await world.chain.until(lambda: accepted(world))
    assert world.sources == [{**data, "path": str(world.home / "patients.csv")}]


async def test_data_that_does_not_fit_refuses_the_study_for_good(world: World) -> None:
    world.failures = [WorkerError("row 7, column age: missing", "swarm.data")]
    async with running(world):
        await trio.sleep(1000)
    assert world.opened == 1
    assert not accepted(world)


async def test_so_does_another_initial_model(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def request(op: str, **fields: Any) -> dict[str, Any]:
        world.opened += 1
        return {"blob": "ab" * 32}

    monkeypatch.setattr(world, "request", request)
    async with running(world):
        await trio.sleep(1000)
    assert world.opened == 1
    assert not accepted(world)


async def test_a_training_process_that_dies_is_tried_again(world: World) -> None:
    world.failures = [WorkerError("it died"), WorkerError("it died")]
    async with running(world):
        await world.chain.until(lambda: accepted(world))
    assert world.opened == 3


@pytest.mark.parametrize(
    "refusal",
    [RpcUnreachable("nobody listens"), TransactionTimeout("not in a block", bytes(32)), StudyNotParticipant(1, "ada")],
    ids=lambda refusal: type(refusal).__name__,
)
async def test_an_acceptance_that_fails_is_tried_again_later_and_later(world: World, refusal: Any) -> None:
    ledger = world.chain.ledger
    ledger.refusals["accept"] = refusal
    async with running(world):
        await world.chain.until(lambda: len(ledger.times) == 5)
        pauses = [later - earlier for earlier, later in zip(ledger.times, ledger.times[1:], strict=False)]
        assert pauses == pytest.approx([5, 10, 20, 40], abs=0.5)
        del ledger.refusals["accept"]
        await world.chain.until(lambda: accepted(world))


async def test_a_study_that_ends_in_the_meantime_is_not_tried_again(world: World) -> None:
    ledger = world.chain.ledger
    ledger.refusals["accept"] = RpcUnreachable("nobody listens")
    async with running(world):
        await world.chain.until(lambda: len(ledger.times) == 2)
        world.play_to_the_end(world.spec.initial)
        await trio.sleep(1000)
    assert len(ledger.times) == 2


async def test_another_chain_ends_the_site(world: World) -> None:
    world.chain.ledger.refusals["accept"] = ChainMismatch("it was reset")
    with pytest.raises(ExceptionGroup) as caught:
        async with running(world):
            await trio.sleep(10)
    assert caught.group_contains(ChainMismatch)


async def test_a_paused_site_accepts_nothing_new_until_it_is_resumed(world: World) -> None:
    site = SiteFolder(world.home)
    pausing.pause(site, "new disks")
    async with running(world):
        await trio.sleep(100)
        assert not accepted(world)
        assert pausing.resume(site)
        await world.chain.until(lambda: accepted(world))


async def test_what_keeps_the_site_from_a_study_is_told_until_nothing_does(world: World) -> None:
    world.failures = [WorkerError("it died")]
    async with running(world):
        await world.chain.until(lambda: bool(world.tally.halted))
        assert world.tally.halted == {1: "node.worker"}
        await world.chain.until(lambda: accepted(world))
        await trio.sleep(1)
        assert world.tally.halted == {}


async def test_the_final_model_and_the_result_are_kept_and_not_made_again(world: World) -> None:
    async with running(world):
        await world.chain.until(lambda: accepted(world))
        world.play_to_the_end(world.spec.initial)
        await world.chain.until(world.folder.is_concluded)
    assert world.folder.result() == {**METRICS, "study": 1, "model": world.spec.initial.hex(), "moments": None}
    opened = world.opened
    async with running(world):
        await trio.sleep(1000)
    assert world.opened == opened


async def test_a_final_model_that_nobody_can_give_is_asked_for_until_somebody_can(world: World) -> None:
    final = bytes(31) + b"f"
    async with running(world):
        await world.chain.until(lambda: accepted(world))
        world.play_to_the_end(final)
        await trio.sleep(100)
        assert not world.folder.is_concluded()
        assert world.opened > 2


async def test_a_disk_that_is_full_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("node.study_folder.write_atomically", refuse)
        async with running(world):
            await trio.sleep(100)
            assert not accepted(world)
            disk.undo()
            await world.chain.until(lambda: accepted(world))
