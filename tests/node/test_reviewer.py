"""Gathering inputs and reviewing what was made of them, on a virtual clock."""

import pytest
import trio
import trio.testing
from round_world import (
    NAMES,
    Misbehaviour,
    connected,
    give_model,
    give_moments,
    give_oversized,
    give_update,
)

from node.errors import StorageError
from swarm.errors import BlobInvalid
from swarm.manifest import TensorShape
from swarm.merge import Exclusion, Objection
from swarm.moments import Moments, write_moments

VIRTUAL_CLOCK = True


def without(blobs: dict[str, bytes], *names: str) -> dict[str, bytes]:
    return {name: blob for name, blob in blobs.items() if name not in names}


# -- a leader gathers ------------------------------------------------------------------------------------------------


async def test_everything_that_is_fit_is_merged() -> None:
    async with connected() as world:
        blobs = world.honest()
        gathered = await world.gather(world.entries(blobs))
        assert [entry.site for entry in gathered.merged] == list(NAMES)
        assert (gathered.seats, gathered.reasons) == (0b1111, b"")
        assert await world.reviewer.merge(1, world.base, gathered.merged) == world.output(blobs)


async def test_an_input_whose_owner_is_gone_comes_from_whoever_has_it() -> None:
    async with connected() as world:
        blobs = world.honest()
        give_update(world.stores["cleo"], [3, 2, 3, 4])
        world.hub.misbehaviour["dora"] = Misbehaviour.UNREACHABLE
        gathered = await world.gather(world.entries(blobs))
        assert gathered.seats == 0b1111


async def test_an_early_fetch_from_a_silent_owner_holds_up_nobody_who_asks_others_too() -> None:
    async with connected() as world, trio.open_nursery() as nursery:
        blobs = world.honest()
        give_update(world.stores["cleo"], [3, 2, 3, 4])
        world.hub.misbehaviour["dora"] = Misbehaviour.STALL
        nursery.start_soon(world.inputs.fetch_early, blobs["dora"], 1, "dora")
        await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
        assert (await world.gather(world.entries(blobs), give_up=4.0)).seats == 0b1111
        assert trio.current_time() - started < 4.0


async def test_an_early_fetch_keeps_out_of_the_way_while_somebody_insists() -> None:
    async with connected() as world, trio.open_nursery() as nursery:
        blobs = world.honest()
        world.hub.misbehaviour["dora"] = Misbehaviour.UNREACHABLE
        nursery.start_soon(world.gather, world.entries(blobs))
        await trio.testing.wait_all_tasks_blocked()
        world.hub.misbehaviour["dora"] = Misbehaviour.STALL
        assert await world.inputs.fetch_early(blobs["dora"], 1, "dora") is Exclusion.UNREACHABLE


async def test_an_input_that_nobody_has_is_waited_for_and_left_out() -> None:
    async with connected() as world:
        blobs = world.honest()
        world.stores["dora"].delete(blobs["dora"])
        started = trio.current_time()
        gathered = await world.gather(world.entries(blobs), give_up=7.0)
        assert trio.current_time() - started == pytest.approx(7.0)
        assert gathered.seats == 0b0111
        assert gathered.excluded == {3: Exclusion.UNREACHABLE}


async def test_an_input_that_comes_while_it_is_waited_for_is_merged() -> None:
    async with connected() as world:
        blobs = world.honest()
        world.stores["dora"].delete(blobs["dora"])

        async def come_late() -> None:
            await trio.sleep(4.0)
            give_update(world.stores["dora"], [3, 2, 3, 4])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(come_late)
            assert (await world.gather(world.entries(blobs))).seats == 0b1111


@pytest.mark.parametrize("misbehaviour", Misbehaviour)
async def test_a_site_that_is_silent_stalls_or_lies_is_unreachable(misbehaviour: Misbehaviour) -> None:
    async with connected() as world:
        blobs = world.honest()
        world.hub.misbehaviour["cleo"] = misbehaviour
        started = trio.current_time()
        gathered = await world.gather(world.entries(blobs), give_up=20.0)
        assert trio.current_time() - started <= 20.0
        assert gathered.excluded == {2: Exclusion.UNREACHABLE}


async def test_what_is_here_is_merged_though_there_is_no_time_left() -> None:
    async with connected() as world:
        blobs = {name: give_update(world.mine, [seat, 0, 0, 0]) for seat, name in enumerate(NAMES)}
        assert (await world.gather(world.entries(blobs), give_up=0.0)).seats == 0b1111


async def test_each_fault_of_an_input_has_its_reason() -> None:
    async with connected() as world:
        blobs = {
            "ada": give_update(world.mine, [1, 2, 3, 4]),
            "bea": give_update(world.stores["bea"], [1000, 1, 0, 0]),
            "cleo": give_update(world.stores["cleo"], [1, 2], (TensorShape("w", (2,)),)),
            "dora": give_oversized(world.stores["dora"]),
        }
        gathered = await world.gather(world.entries(blobs))
        assert gathered.excluded == {1: Exclusion.OVER_CLIP, 2: Exclusion.WRONG_SHAPE, 3: Exclusion.MALFORMED}
        assert gathered.reasons == bytes([Exclusion.OVER_CLIP, Exclusion.WRONG_SHAPE, Exclusion.MALFORMED])


async def test_an_oversized_input_is_malformed_also_to_the_leader_that_made_it() -> None:
    async with connected() as world:
        blobs = world.honest() | {"ada": give_oversized(world.mine)}
        assert (await world.gather(world.entries(blobs))).excluded == {0: Exclusion.MALFORMED}


async def test_a_model_is_no_update() -> None:
    async with connected() as world:
        nan = float("nan")
        blobs = world.honest() | {"cleo": give_model(world.stores["cleo"], [nan] * 4), "dora": world.base}
        gathered = await world.gather(world.entries(blobs))
        assert gathered.excluded == {2: Exclusion.WRONG_SHAPE, 3: Exclusion.WRONG_SHAPE}


# -- the statistics round --------------------------------------------------------------------------------------------


async def test_statistics_are_gathered_merged_and_reviewed() -> None:
    async with connected() as world:
        blobs = {name: give_moments(world.stores[name], 10 + seat) for seat, name in enumerate(NAMES)}
        entries = world.entries(blobs, number=0)
        assert await world.review(entries, world.summed(blobs), number=0) is True
        assert await world.review(entries, world.base, number=0) is Objection.WRONG_OUTPUT
        gathered = await world.gather(entries, number=0)
        assert await world.reviewer.merge(0, None, gathered.merged) == world.summed(blobs)


async def test_an_impossible_count_is_left_out() -> None:
    async with connected() as world:
        blobs = {name: give_moments(world.stores[name], 10) for name in NAMES[:3]}
        blobs["dora"] = write_moments(world.stores["dora"], Moments(2**62, (0, 0), (0, 0))).blob
        gathered = await world.gather(world.entries(blobs, number=0), number=0)
        assert gathered.excluded == {3: Exclusion.OVER_CLIP}


async def test_statistics_committed_again_as_an_update_are_no_update() -> None:
    async with connected() as world:
        statistics = give_moments(world.stores["dora"], 10)
        entries = world.entries({"ada": give_moments(world.mine, 9), "dora": statistics}, number=0)
        assert (await world.gather(entries, number=0)).excluded == {}
        gathered = await world.gather(world.entries(world.honest() | {"dora": statistics}))
        assert gathered.excluded == {3: Exclusion.MALFORMED}  # they are larger than this model's updates


# -- everybody reviews -----------------------------------------------------------------------------------------------


async def test_a_true_output_holds_and_a_wrong_one_does_not() -> None:
    async with connected() as world:
        blobs = world.honest()
        entries = world.entries(blobs)
        assert await world.review(entries, world.output(blobs)) is True
        assert await world.review(entries, world.output(without(blobs, "dora"))) is Objection.WRONG_OUTPUT


async def test_a_fit_input_that_is_held_may_not_be_left_out() -> None:
    async with connected() as world:
        blobs = world.honest()
        give_update(world.mine, [3, 2, 3, 4])
        output = world.output(without(blobs, "dora"))
        verdict = await world.review(world.entries(blobs), output, {"dora": Exclusion.UNREACHABLE})
        assert verdict is Objection.OMITTED_INPUT


async def test_nor_one_that_another_committer_has() -> None:
    async with connected() as world:
        blobs = world.honest()
        give_update(world.stores["cleo"], [3, 2, 3, 4])
        output = world.output(without(blobs, "dora"))
        verdict = await world.review(world.entries(blobs), output, {"dora": Exclusion.UNREACHABLE})
        assert verdict is Objection.OMITTED_INPUT


async def test_an_owner_that_withheld_its_input_from_the_leader_cannot_void_it_afterwards() -> None:
    async with connected() as world:
        blobs = world.honest()
        output = world.output(without(blobs, "dora"))
        assert await world.review(world.entries(blobs), output, {"dora": Exclusion.UNREACHABLE}) is True


@pytest.mark.parametrize("reason", [Exclusion.MALFORMED, Exclusion.WRONG_SHAPE, Exclusion.OVER_CLIP])
async def test_a_reason_that_is_false_is_an_objection(reason: Exclusion) -> None:
    async with connected() as world:
        blobs = world.honest()
        output = world.output(without(blobs, "cleo"))
        assert await world.review(world.entries(blobs), output, {"cleo": reason}) is Objection.OMITTED_INPUT


async def test_so_is_a_reason_that_does_not_exist() -> None:
    async with connected() as world:
        blobs = world.honest()
        output = world.output(without(blobs, "cleo"))
        world.stores["cleo"].delete(blobs["cleo"])
        assert await world.review(world.entries(blobs), output, {"cleo": 77}) is Objection.OMITTED_INPUT


@pytest.mark.parametrize("reason", [Exclusion.WRONG_SHAPE, Exclusion.OVER_CLIP])
async def test_a_fault_that_the_leader_cannot_show_is_an_objection(reason: Exclusion) -> None:
    async with connected() as world:
        blobs = world.honest()
        output = world.output(without(blobs, "cleo"))
        world.stores["cleo"].delete(blobs["cleo"])
        assert await world.review(world.entries(blobs), output, {"cleo": reason}) is Objection.UNVERIFIABLE


async def test_true_reasons_are_accepted() -> None:
    async with connected() as world:
        blobs = world.honest() | {
            "cleo": give_update(world.stores["cleo"], [2000, 0, 0, 0]),
            "dora": give_oversized(world.stores["dora"]),
        }
        output = world.output(without(blobs, "cleo", "dora"))
        reasons = {"cleo": Exclusion.OVER_CLIP, "dora": Exclusion.MALFORMED}
        assert await world.review(world.entries(blobs), output, reasons) is True


async def test_a_malformed_input_whose_owner_has_gone_silent_does_not_hold_the_review_up() -> None:
    async with connected() as world:
        blobs = world.honest() | {"dora": give_oversized(world.stores["dora"])}
        world.hub.misbehaviour["dora"] = Misbehaviour.UNREACHABLE
        output = world.output(without(blobs, "dora"))
        started = trio.current_time()
        assert await world.review(world.entries(blobs), output, {"dora": Exclusion.MALFORMED}) is True
        assert trio.current_time() - started < 5.0


async def test_an_invalid_input_may_not_be_merged() -> None:
    async with connected() as world:
        blobs = world.honest() | {"cleo": give_update(world.stores["cleo"], [2000, 0, 0, 0])}
        assert await world.review(world.entries(blobs), world.base) is Objection.INVALID_INPUT_MERGED


async def test_what_cannot_be_seen_cannot_be_verified() -> None:
    async with connected() as world:
        blobs = world.honest()
        output = world.output(blobs)
        world.stores["cleo"].delete(blobs["cleo"])
        started = trio.current_time()
        assert await world.review(world.entries(blobs), output) is Objection.UNVERIFIABLE
        assert trio.current_time() - started == pytest.approx(10.0)


async def test_the_leader_gives_what_its_owner_no_longer_does() -> None:
    async with connected() as world:
        blobs = world.honest()
        output = world.output(blobs)
        give_update(world.stores["bea"], [2, 2, 3, 4])
        world.hub.misbehaviour["cleo"] = Misbehaviour.UNREACHABLE
        assert await world.review(world.entries(blobs), output) is True


# -- this site's own disk --------------------------------------------------------------------------------------------


async def test_a_disk_that_changed_an_input_is_mended_before_anybody_is_blamed() -> None:
    async with connected() as world:
        blobs = world.honest()
        output = world.output(blobs)
        give_update(world.mine, [2, 2, 3, 4])
        world.mine.damaged.add(blobs["cleo"])
        assert await world.review(world.entries(blobs), output) is True


async def test_a_disk_that_is_full_blames_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    async with connected() as world:
        blobs = world.honest()
        monkeypatch.setattr(world.mine, "receive", refuse)
        with pytest.raises(StorageError, match="No space left"):
            await world.gather(world.entries(blobs))
        with pytest.raises(StorageError, match="No space left"):
            await world.review(world.entries(blobs), world.base)


async def test_an_input_that_the_disk_cut_short_is_fetched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected() as world:
        blobs = world.honest()
        give_update(world.mine, [2, 2, 3, 4])
        read = world.mine.read_chunk
        cut = {blobs["cleo"]}

        def read_chunk(blob: bytes, index: int) -> bytes:
            if blob in cut:
                cut.discard(blob)
                raise BlobInvalid("chunk 0 is cut short")
            return read(blob, index)

        monkeypatch.setattr(world.mine, "read_chunk", read_chunk)
        assert (await world.gather(world.entries(blobs))).seats == 0b1111
