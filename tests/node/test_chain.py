"""The ledger as a live value, on a virtual clock and with a stream that does what a test says."""

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from ledger.calls import Receipt
from ledger.errors import ChainMismatch, RpcDistrusted, RpcError, RpcRefused, RpcUnreachable
from ledger.events import ConsortiumFounded, Event, SiteAdmitted
from ledger.types import Block, Position
from node.chain import LONGEST_PAUSE, MAX_BACKOFF, Chain

VIRTUAL_CLOCK = True
POLL_SECONDS = 0.25
START = 1_700_000_000


class Stream:
    """Gives the events that a test put there, or raises."""

    def __init__(self) -> None:
        self.tip: Block | None = None
        self.polls: list[float] = []
        self.trouble: Exception | None = None
        self.head = 9
        self.tips: Iterator[Block] = iter(())
        self._waiting: list[Event] = []
        self._head = 0
        self.mine(ConsortiumFounded(at=self._next(), quorum_bps=6667, motion_seconds=60))

    def poll(self) -> list[Event]:
        self.polls.append(trio.current_time())
        if self.trouble is not None:
            raise self.trouble
        self.tip = next(self.tips, Block(self._head, bytes(32), START + self._head))
        events, self._waiting = self._waiting, []
        return events

    def mine(self, *events: Event) -> None:
        self._head += 1
        self._waiting += events

    def admit(self, name: str) -> None:
        self.mine(SiteAdmitted(at=self._next(), site=name, seat=self._head, name=name))

    def _next(self) -> Position:
        return Position(self._head + 1, 0, bytes(32), bytes(32), START + self._head + 1)


@asynccontextmanager
async def following(**options: Any) -> AsyncIterator[tuple[Chain, Stream]]:
    stream: Any = Stream()
    ledger: Any = None
    chain = Chain(ledger, stream, POLL_SECONDS, **options)
    async with trio.open_nursery() as nursery:
        await nursery.start(chain.follow)
        yield chain, stream
        nursery.cancel_scope.cancel()


async def test_it_begins_with_the_present_state_and_sees_what_follows() -> None:
    async with following() as (chain, stream):
        assert chain.consortium.quorum_bps == 6667
        assert chain.block == 1
        stream.admit("ada")
        await chain.changed()
        assert set(chain.consortium.members) == {"ada"}
        assert trio.current_time() <= POLL_SECONDS


async def test_chain_time_goes_on_between_blocks() -> None:
    async with following() as (chain, _):
        assert chain.now() == START + 1
        await trio.sleep(40)
        assert chain.now() == pytest.approx(START + 41, abs=POLL_SECONDS)


async def test_a_wait_ends_at_its_chain_time_or_with_an_event() -> None:
    async with following() as (chain, stream):
        await chain.changed_or(chain.now() + 30)
        assert trio.current_time() == pytest.approx(30, abs=POLL_SECONDS)
        stream.admit("ada")
        await chain.changed_or(None)
        assert "ada" in chain.consortium.members


async def test_a_write_returns_once_its_block_is_folded_in_without_waiting_for_the_next_poll() -> None:
    async with following() as (chain, stream):

        def send() -> Receipt:
            stream.admit("ada")
            return Receipt(bytes(32), 2, 1, 1, "ada", ())

        before = trio.current_time()
        await chain.submit(send)
        assert "ada" in chain.consortium.members
        assert trio.current_time() == before


@pytest.mark.parametrize("trouble", [RpcUnreachable("nobody listens"), RpcRefused(-32000, "header not found")])
async def test_a_node_that_cannot_be_asked_is_asked_again_later_and_later(trouble: RpcError) -> None:
    async with following() as (chain, stream):
        stream.trouble = trouble
        await trio.sleep(60)
        assert not chain.reachable
        pauses = [later - earlier for earlier, later in zip(stream.polls, stream.polls[1:], strict=False)]
        assert pauses == sorted(pauses)
        assert pauses[-1] == MAX_BACKOFF
        stream.trouble = None
        stream.admit("ada")
        with trio.fail_after(2 * MAX_BACKOFF):
            await chain.recovered()
        assert chain.reachable
        assert "ada" in chain.consortium.members


async def test_a_write_that_waits_survives_an_outage() -> None:
    async with following() as (chain, stream):

        def send() -> Receipt:
            stream.trouble = RpcUnreachable("nobody listens")
            stream.admit("ada")
            return Receipt(bytes(32), 2, 1, 1, "ada", ())

        async def come_back() -> None:
            await trio.sleep(20)
            stream.trouble = None

        async with trio.open_nursery() as nursery:
            nursery.start_soon(come_back)
            await chain.submit(send)
        assert "ada" in chain.consortium.members


@pytest.mark.parametrize("trouble", [RpcUnreachable("nobody listens"), ChainMismatch("it was reset")])
async def test_the_first_look_at_the_ledger_may_not_fail(trouble: Exception) -> None:
    stream: Any = Stream()
    ledger: Any = None
    stream.trouble = trouble
    with pytest.raises(type(trouble)):
        await Chain(ledger, stream, POLL_SECONDS).follow()


async def test_another_history_is_told_of_and_nothing_is_sent_until_the_right_one_is_back() -> None:
    async with following() as (chain, stream):
        stream.trouble = ChainMismatch("it was reset")
        await trio.sleep(60)
        assert "it was reset" in chain.trouble
        assert "writes nothing" in chain.trouble
        sent: list[int] = []
        with pytest.raises(RpcDistrusted, match="it was reset"):
            await chain.submit(lambda: sent.append(1))  # type: ignore[arg-type, return-value]
        assert sent == []
        stream.trouble = None
        stream.admit("ada")
        await chain.changed()
        await trio.sleep(0)
        assert "ada" in chain.consortium.members
        assert chain.trouble == ""


async def test_a_write_that_finds_another_history_is_no_end_of_the_site() -> None:
    async with following() as (chain, _):

        def send() -> Receipt:
            raise ChainMismatch("nothing was recorded")

        with pytest.raises(RpcDistrusted, match="nothing was recorded"):
            await chain.submit(send)


async def test_a_node_without_new_blocks_is_said_to_be_behind_and_the_next_one_is_asked() -> None:
    reasons: list[str] = []
    async with following(head_seconds=30, move_on=reasons.append) as (chain, stream):
        await trio.sleep(25)
        assert (chain.trouble, reasons) == ("", [])
        await trio.sleep(10)
        assert "there is no block after block 1" in chain.trouble
        assert len(reasons) == 1
        stream.head = 0
        await trio.sleep(30)
        assert "is at block 0 and behind block 1" in chain.trouble
        assert len(reasons) == 2
        stream.admit("ada")
        await chain.changed()
        await trio.sleep(0)
        assert chain.trouble == ""


async def test_a_block_that_its_node_takes_back_is_no_longer_the_tip() -> None:
    async with following() as (chain, stream):
        for tip in (Block(3, b"\x01" * 32, START + 3), Block(2, b"\x02" * 32, START + 2)):
            stream.tips = itertools.repeat(tip)
            await trio.sleep(2 * LONGEST_PAUSE)
            assert chain.tip == tip
