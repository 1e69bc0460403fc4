"""The round loop against a scripted ledger, on a virtual clock: what it does, and what it never does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from ledger_script import NAMES, RunnerWorld, commitment, specification
from round_world import give_model, give_update

from ledger.errors import ChainMismatch, RpcUnreachable, TransactionLost, TransactionTimeout
from ledger.events import CommitsVoided, LeaderFailed, RoundRetried
from ledger.reverts import CommitEpsilonBudgetExceeded, RoundNotEligible
from ledger.types import Fault, Status
from node.errors import WorkerError
from node.rounds.inputs import MAX_RETRY_SECONDS as MAX_ASK_SECONDS
from node.rounds.runner import MAX_RETRY_SECONDS
from swarm.memory_store import MemoryStore
from swarm.merge import merge_updates

VIRTUAL_CLOCK = True


@pytest.fixture
def world(tmp_path: Path) -> RunnerWorld:
    return RunnerWorld(tmp_path / "studies" / "1")


@asynccontextmanager
async def running(world: RunnerWorld) -> AsyncIterator[None]:
    """The site runs inside, and is killed at the end: nothing is cleaned up that a crash would not clean up."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.make().run)
        yield
        nursery.cancel_scope.cancel()


def a_model(world: RunnerWorld, first: float = 1.0) -> bytes:
    """An output that this site has."""
    return give_model(world.store, [first, 0.0, 0.0, 0.0])


def lost() -> TransactionLost:
    return TransactionLost("nobody can tell", bytes(32))


# -- the way of a round ----------------------------------------------------------------------------------------------


async def test_it_trains_commits_verifies_and_commits_again_with_its_attestation(world: RunnerWorld) -> None:
    other = give_update(world.theirs, [0, 9, 9, 0])
    async with running(world):
        await world.chain.until(lambda: len(world.sent) == 1)
        world.chain.commit("bea", 1, commitment(other))
        world.chain.seal(1, 0b0011, "bea")
        inputs = [(world.trainer.update_of(1), 1), (other, 1)]
        rule = world.spec.merge_rule(world.store.manifest(world.spec.initial).tensors)
        world.theirs.delete(world.trainer.update_of(1))
        await world.chain.until(lambda: world.store.has(other))
        output = merge_updates(_copy(world.store), world.spec.initial, inputs, rule).blob
        world.chain.publish("bea", 1, output, 0b0011)
        await world.chain.until(lambda: len(world.sent) == 2)
        world.chain.finalise(1, output, 0b0011)
        await trio.sleep(1)
    assert world.sent == [("commit", world.trainer.update_of(1)), ("attest_and_commit", world.trainer.update_of(2))]
    assert world.trainer.asked == [1, 2]
    assert world.tally.rounds[1].count == 1
    assert world.tally.rounds[1].seconds["seconds"] > 0


async def test_as_leader_it_merges_and_publishes(world: RunnerWorld) -> None:
    other = give_update(world.theirs, [0, 9, 9, 0])
    unfit = give_update(world.theirs, [0, 0, 0, 5000])
    async with running(world):
        await world.chain.until(lambda: len(world.sent) == 1)
        world.chain.commit("bea", 1, commitment(other))
        world.chain.commit("cleo", 1, commitment(unfit))
        world.chain.seal(1, 0b0111, "ada")
        await world.chain.until(lambda: len(world.sent) == 2)
    kind, (output, merged, reasons) = world.sent[1]
    assert (kind, merged, reasons) == ("publish", 0b0011, bytes([4]))
    assert world.store.has(output)


async def test_training_for_a_round_that_is_over_is_stopped(world: RunnerWorld) -> None:
    world.trainer.seconds = 10_000.0
    output = a_model(world)
    async with running(world):
        await trio.sleep(5)
        assert world.trainer.asked == [1]
        world.chain.play_round(1, {"bea": bytes(31) + b"b", "cleo": bytes(31) + b"c"}, output)
        await trio.sleep(5)
    assert world.trainer.cancelled == [1, 2]
    assert world.trainer.asked == [1, 2]
    assert world.sent == []


async def test_an_action_under_way_is_not_disturbed_by_news_that_do_not_change_it(world: RunnerWorld) -> None:
    world.trainer.seconds = 100.0
    async with running(world):
        await trio.sleep(50)
        world.chain.commit("bea", 1, commitment(bytes(31) + b"b"))
        await trio.sleep(60)
    assert world.trainer.cancelled == []
    assert world.sent == [("commit", world.trainer.update_of(1))]


async def test_training_that_takes_long_does_not_hold_the_attestation_up(world: RunnerWorld) -> None:
    async with running(world):
        await world.chain.until(lambda: len(world.sent) == 1)
        world.trainer.seconds = 10_000.0
        mine = world.trainer.update_of(1)
        world.chain.commit("bea", 1, commitment(mine))
        world.chain.seal(1, 0b0011, "bea")
        rule = world.spec.merge_rule(world.store.manifest(world.spec.initial).tensors)
        output = merge_updates(_copy(world.store), world.spec.initial, [(mine, 1), (mine, 1)], rule).blob
        published = trio.current_time()
        world.chain.publish("bea", 1, output, 0b0011)
        await world.chain.until(lambda: len(world.sent) == 2)
        assert world.sent[1] == ("attest", output)
        assert trio.current_time() - published < world.spec.round.review_seconds / 4
        await trio.sleep(1)
        assert world.trainer.asked == [1, 2, 2]


async def published_by_another(world: RunnerWorld) -> bytes:
    """A first round up to the review of an output that holds; the site has committed and not voted."""
    await world.chain.until(lambda: len(world.sent) == 1)
    mine = world.trainer.update_of(1)
    world.chain.commit("bea", 1, commitment(mine))
    world.chain.seal(1, 0b0011, "bea")
    rule = world.spec.merge_rule(world.store.manifest(world.spec.initial).tensors)
    output = merge_updates(_copy(world.store), world.spec.initial, [(mine, 1), (mine, 1)], rule).blob
    world.chain.publish("bea", 1, output, 0b0011)
    return output


async def test_training_that_fails_does_not_hold_the_attestation_up(world: RunnerWorld) -> None:
    world.trainer.answers[2] = WorkerError("the data is gone")
    async with running(world):
        output = await published_by_another(world)
        await trio.sleep(world.spec.round.review_seconds / 4)
    assert world.sent[1:] == [("attest", output)]


async def test_a_commit_that_is_refused_does_not_hold_the_attestation_up(world: RunnerWorld) -> None:
    world.chain.ledger.refusals["attest_and_commit"] = CommitEpsilonBudgetExceeded(9, 8)
    async with running(world):
        output = await published_by_another(world)
        await trio.sleep(world.spec.round.review_seconds / 4)
    assert world.sent[1:] == [("attest", output)]


# -- paused by its operator -------------------------------------------------------------------------------------------


async def test_a_paused_site_stops_training_and_goes_on_when_it_may(world: RunnerWorld) -> None:
    world.trainer.seconds = 100.0
    async with running(world):
        await trio.sleep(50)
        world.paused = True
        await trio.sleep(200)
        assert (world.trainer.asked, world.trainer.cancelled, world.sent) == ([1], [1], [])
        world.paused = False
        await world.chain.until(lambda: bool(world.sent))
    assert world.sent == [("commit", world.trainer.update_of(1))]


async def test_a_site_that_is_paused_after_its_commit_still_reviews_and_then_rests(world: RunnerWorld) -> None:
    async with running(world):
        await world.chain.until(lambda: len(world.sent) == 1)
        world.paused = True
        output = await published_by_another(world)
        await world.chain.until(lambda: len(world.sent) == 2)
        world.chain.finalise(1, output, 0b0011)
        await trio.sleep(30)
    assert world.sent == [("commit", world.trainer.update_of(1)), ("attest", output)]
    assert world.trainer.asked == [1]


# -- refusals and failures -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refusal",
    [
        RoundNotEligible(1, "ada"),
        RpcUnreachable("nobody listens"),
        TransactionTimeout("not in a block", bytes(32)),
        lost(),
        OSError(28, "No space left on device"),
    ],
    ids=lambda refusal: type(refusal).__name__,
)
async def test_what_the_ledger_refuses_is_tried_again_later_and_later(world: RunnerWorld, refusal: Exception) -> None:
    ledger = world.chain.ledger
    ledger.refusals["commit"] = refusal  # type: ignore[assignment]
    async with running(world):
        await world.chain.until(lambda: len(ledger.times) == 9)
        pauses = [later - earlier for earlier, later in zip(ledger.times, ledger.times[1:], strict=False)]
        assert pauses == pytest.approx([1, 2, 4, 8, 16, 32, MAX_RETRY_SECONDS, MAX_RETRY_SECONDS], abs=0.1)
        del ledger.refusals["commit"]
        await world.chain.until(lambda: bool(world.sent))
    assert world.trainer.asked == [1]


async def test_a_pause_ends_when_something_else_is_to_be_done(world: RunnerWorld) -> None:
    ledger = world.chain.ledger
    ledger.refusals["commit"] = RoundNotEligible(1, "ada")
    async with running(world):
        await world.chain.until(lambda: len(ledger.times) == 8)
        world.chain.play_round(1, {"bea": bytes(31) + b"b", "cleo": bytes(31) + b"c"}, a_model(world))
        before = trio.current_time()
        await world.chain.until(lambda: len(ledger.times) == 9)
        assert trio.current_time() - before < 1


async def test_another_chain_ends_the_site(world: RunnerWorld) -> None:
    world.chain.ledger.refusals["commit"] = ChainMismatch("it was reset")
    with pytest.raises(ExceptionGroup) as caught:
        await world.make().run()
    assert caught.group_contains(ChainMismatch)


@pytest.mark.parametrize(
    "answer",
    [
        WorkerError("the loss is not finite", "swarm.training"),
        WorkerError("it died"),
        {"blob": "zz", "weight": 1},
        {"weight": 1},
        {"blob": "ab" * 32, "weight": 1},
        {"blob": give_update(MemoryStore(), [1, 0, 0, 1]).hex(), "weight": 10**6},
        {"blob": give_update(MemoryStore(), [1, 0, 0, 1]).hex(), "weight": -1},
        {"blob": give_update(MemoryStore(), [1, 0, 0, 1]).hex(), "weight": "much"},
        {"blob": give_update(MemoryStore(), [5000, 0, 0, 0]).hex(), "weight": 1},
        {"blob": give_model(MemoryStore(), [0.0] * 4).hex(), "weight": 1},
    ],
)
async def test_what_training_fails_at_is_never_committed(world: RunnerWorld, answer: object) -> None:
    world.trainer.answers[1] = answer
    give_update(world.store, [5000, 0, 0, 0])
    give_update(world.store, [1, 0, 0, 1])
    async with running(world):
        await world.chain.until(lambda: len(world.trainer.asked) == 4)
        assert world.sent == []
        assert world.tally.failing.keys() == {(1, "Train")}
        del world.trainer.answers[1]
        await world.chain.until(lambda: bool(world.sent))
        assert world.tally.failing == {}
    assert world.sent == [("commit", world.trainer.update_of(1))]


async def test_a_disk_that_fails_while_it_fetches_ends_nothing(
    world: RunnerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    async with running(world):
        with monkeypatch.context() as disk:
            disk.setattr(world.store, "receive", refuse)
            world.chain.commit("bea", 1, commitment(give_update(world.theirs, [0, 9, 9, 0])))
            await world.chain.until(lambda: bool(world.sent))
            world.chain.seal(1, 0b0011, "ada")
            await trio.sleep(30)
            assert len(world.sent) == 1
        await world.chain.until(lambda: len(world.sent) == 2)
    assert world.sent[1][0] == "publish"


async def test_an_update_is_on_this_site_before_it_is_merged_however_late_its_owner_gives_it(
    world: RunnerWorld,
) -> None:
    blob = give_update(MemoryStore(), [0, 9, 9, 0])
    async with running(world):
        world.chain.commit("bea", 1, commitment(blob))
        await trio.sleep(30)
        give_update(world.theirs, [0, 9, 9, 0])
        await world.chain.until(lambda: world.store.has(blob))
        assert world.chain.studies[1].round.leader is None


async def test_an_update_that_nobody_gives_is_asked_for_until_its_round_is_over(
    world: RunnerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    pull = world.network.pull

    async def noted(blob: bytes, *args: Any, **options: Any) -> None:
        asked.append(trio.current_time())
        await pull(blob, *args, **options)

    monkeypatch.setattr(world.network, "pull", noted)
    async with running(world):
        world.chain.commit("bea", 1, commitment(bytes(31) + b"b"))
        await trio.sleep(60)
        world.chain.play_round(1, {"cleo": bytes(31) + b"c", "dora": bytes(31) + b"d"}, a_model(world))
        over = trio.current_time()
        await trio.sleep(300)
    assert len(asked) > 10
    assert all(moment < over + MAX_ASK_SECONDS for moment in asked)


# -- kills and restarts ----------------------------------------------------------------------------------------------


async def test_a_restart_commits_the_very_bytes_that_were_made_before(world: RunnerWorld) -> None:
    world.chain.ledger.refusals["commit"] = RpcUnreachable("nobody listens")
    async with running(world):
        await world.chain.until(lambda: bool(world.chain.ledger.times))
    del world.chain.ledger.refusals["commit"]
    world.trainer.answers[1] = WorkerError("it must not be asked")
    async with running(world):
        await world.chain.until(lambda: bool(world.sent))
    assert world.sent == [("commit", world.trainer.update_of(1))]
    assert world.trainer.asked == [1]


async def test_a_restart_does_not_commit_twice(world: RunnerWorld) -> None:
    async with running(world):
        await world.chain.until(lambda: bool(world.sent))
    for _ in range(3):
        async with running(world):
            await trio.sleep(30)
    assert world.sent == [("commit", world.trainer.update_of(1))]


async def test_a_retried_round_gets_the_same_bytes_and_the_next_link(world: RunnerWorld) -> None:
    async with running(world):
        await world.chain.until(lambda: bool(world.sent))
        first = world.chain.studies[1].sites["ada"].link
        world.chain.seal(1, 0b0001, "ada")
        world.chain.say(LeaderFailed, round=1, leader="ada", term=0, fault=Fault.MERGE_TIMEOUT)
        world.chain.say(RoundRetried, round=1, attempt=1, deadline=10_000)
        await world.chain.until(lambda: len(world.sent) > 1 and world.sent[-1][0] == "commit")
        second = world.chain.studies[1].sites["ada"].link
    assert [what for kind, what in world.sent if kind == "commit"] == [world.trainer.update_of(1)] * 2
    assert world.trainer.asked == [1]
    assert world.reveals.reveal(first) == second


async def test_an_update_whose_blob_is_lost_is_made_again(world: RunnerWorld) -> None:
    world.chain.ledger.refusals["commit"] = RpcUnreachable("nobody listens")
    async with running(world):
        await world.chain.until(lambda: bool(world.chain.ledger.times))
    del world.chain.ledger.refusals["commit"]
    world.store.delete(world.trainer.update_of(1))
    async with running(world):
        await world.chain.until(lambda: bool(world.sent))
    assert world.trainer.asked == [1, 1]
    assert world.store.has(world.trainer.update_of(1))


# -- retention -------------------------------------------------------------------------------------------------------


async def test_updates_are_deleted_when_their_retention_is_over(world: RunnerWorld) -> None:
    theirs = [give_update(world.store, [number, 7, 7, 7]) for number in range(6)]
    outputs = [a_model(world, number) for number in range(6)]
    async with running(world):
        for number in range(1, 4):
            world.chain.play_round(number, {"bea": theirs[number], "cleo": theirs[number]}, outputs[number])
            await trio.sleep(1)
        assert [world.store.has(blob) for blob in theirs[1:4]] == [False, False, True]
        assert all(world.store.has(output) for output in outputs[1:4])


async def test_updates_that_belong_to_no_round_are_deleted_too(world: RunnerWorld) -> None:
    voided, final = give_update(world.store, [9, 9, 9, 9]), a_model(world, 1)
    async with running(world):
        await world.chain.until(lambda: len(world.sent) == 1)
        own = world.sent[0][1]
        for name in ("bea", "cleo"):
            world.chain.commit(name, 1, commitment(give_update(world.store, [1, 2, 3, 4])))
        world.chain.seal(1, 0b0110, "bea")
        world.chain.publish("bea", 1, a_model(world, 9), 0b0110)
        world.chain.commit("cleo", 2, commitment(voided))
        world.chain.say(CommitsVoided, round=2, voided=0b0100)
        world.chain.say(LeaderFailed, round=1, leader="bea", term=0, fault=Fault.REVIEW_TIMEOUT)
        world.chain.elect(1, "cleo", 1)
        world.chain.publish("cleo", 1, final, 0b0110, term=1)
        world.chain.finalise(1, final, 0b0110)
        await trio.sleep(1)
        assert world.store.has(voided)
        for number in (2, 3):
            blobs = {name: give_update(world.store, [number, 5, 5, 5]) for name in ("bea", "cleo")}
            world.chain.play_round(number, blobs, a_model(world, number))
            await trio.sleep(1)
        assert not world.store.has(voided)
        assert not world.store.has(own)
        assert world.store.has(final)


async def test_bytes_that_are_committed_again_stay_as_long_as_any_round_needs_them(tmp_path: Path) -> None:
    world = RunnerWorld(tmp_path, specification(rounds=8, retention_rounds=2))
    again = give_update(world.store, [7, 7, 7, 7])
    other = give_update(world.store, [8, 8, 8, 8])
    kept = []
    async with running(world):
        for number, blob in enumerate((again, other, again, other, other, other), 1):
            world.chain.play_round(number, {"bea": blob, "cleo": blob}, a_model(world, number))
            await trio.sleep(1)
            kept.append(world.store.has(again))
    assert kept == [True, True, True, True, False, False]


async def test_the_hash_of_a_model_that_somebody_commits_deletes_no_model(world: RunnerWorld) -> None:
    outputs = [world.spec.initial, *(a_model(world, number) for number in range(1, 5))]
    async with running(world):
        for number in range(1, 5):
            world.chain.play_round(number, {"bea": outputs[number - 1], "cleo": outputs[1]}, outputs[number])
            await trio.sleep(1)
        assert all(world.store.has(output) for output in outputs)


async def test_nor_what_another_study_still_needs(world: RunnerWorld) -> None:
    shared, own = give_update(world.store, [7, 7, 7, 7]), give_update(world.store, [8, 8, 8, 8])
    second = specification(seed=1)
    world.chain.propose(2, second, world.reveals.tip, NAMES)
    world.claims.enter(2, second)
    world.chain.commit("dora", 1, commitment(shared), study=2)
    async with running(world):
        world.chain.play_round(1, {"bea": shared, "cleo": own}, a_model(world, 1))
        for number in range(2, 5):
            world.chain.play_round(number, {"bea": bytes(31) + b"b", "cleo": bytes(31) + b"c"}, a_model(world, number))
            await trio.sleep(1)
        assert world.store.has(shared)
        assert not world.store.has(own)


async def test_a_study_that_ends_ends_its_runner(world: RunnerWorld) -> None:
    outputs = [a_model(world, number) for number in range(6)]
    world.trainer.seconds = 10_000.0
    with trio.fail_after(100):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.make().run)
            for number in range(1, 6):
                await trio.sleep(1)
                world.chain.play_round(number, {"bea": bytes(31) + b"b", "cleo": bytes(31) + b"c"}, outputs[number])
    assert world.chain.studies[1].status is Status.FINISHED


def _copy(store: MemoryStore) -> MemoryStore:
    """The same blobs, in a store of their own."""
    other = MemoryStore()
    for blob in store.blobs():
        receiver = other.receive(store.manifest(blob))
        for index in receiver.missing():
            receiver.write(index, store.read_chunk(blob, index))
        receiver.finish()
    return other
