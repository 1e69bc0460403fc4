"""Events arrive in order, each exactly once, whatever the node does in between; another history is never followed."""

import contextlib
import json
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_world import World, account

from ledger.calls import Calls
from ledger.deployment import Deployment
from ledger.errors import ChainMismatch, RpcRefused, RpcUnreachable
from ledger.events import Event, SiteAdmitted, VoteCast
from ledger.memory import MemoryChain, RawLog, Trouble, TroubledRpc, encode_log
from ledger.rpc import Rpc
from ledger.stream import Cursor, EventStream
from ledger.types import Position

CONSORTIUM, STUDY = account(1).address, account(2).address
NOWHERE = Position(0, 0, bytes(32), bytes(32), 0)


def vote(motion: int) -> RawLog:
    return encode_log(CONSORTIUM, VoteCast(at=NOWHERE, motion=motion, voter=STUDY, approve=True))


def stream(chain: MemoryChain, rpc: Rpc | None = None, cursor: Cursor | None = None, chunk: int = 2000) -> EventStream:
    genesis = bytes.fromhex(chain.call("eth_getBlockByNumber", "0x0", False)["hash"][2:])
    deployment = Deployment(chain.chain_id, genesis, CONSORTIUM, STUDY, 1)
    return EventStream(Calls(rpc if rpc is not None else chain, deployment), cursor, chunk=chunk)


def motions(events: list[Event]) -> list[int]:
    return [event.motion for event in events if isinstance(event, VoteCast)]


def test_events_come_once_in_the_order_of_the_chain() -> None:
    chain = MemoryChain()
    reader = stream(chain)
    assert reader.poll() == []
    chain.mine(vote(1), vote(2))
    chain.mine()
    chain.mine(vote(3))
    events = reader.poll()
    assert motions(events) == [1, 2, 3]
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert [(event.at.block, event.at.log_index) for event in events] == [(1, 0), (1, 1), (3, 0)]
    assert {event.at.timestamp for event in events} == {1_700_000_001, 1_700_000_003}
    assert reader.poll() == []


def test_a_poll_costs_one_call_where_nothing_happened_and_few_otherwise() -> None:
    chain = MemoryChain()
    reader = stream(chain)
    reader.poll()
    reader.poll()
    assert reader.calls == 1
    chain.mine()
    reader.poll()
    assert reader.calls == 2
    chain.mine(vote(1))
    reader.poll()
    assert reader.calls == 3
    assert reader.tip is not None
    assert reader.tip.number == 2


class FarRpc:
    """A node so far away that it answers for no block before it was asked for several."""

    def __init__(self, chain: MemoryChain, blocks: int) -> None:
        self._chain = chain
        self._all_asked = threading.Barrier(blocks)

    def call(self, method: str, *params: Any) -> Any:
        if method == "eth_getBlockByNumber" and params[0] != "0x0":
            self._all_asked.wait(10)
        return self._chain.call(method, *params)


def test_blocks_that_came_together_are_asked_for_together() -> None:
    chain = MemoryChain()
    for number in range(5):
        chain.mine(vote(number))
    assert motions(stream(chain, FarRpc(chain, 5)).poll()) == [0, 1, 2, 3, 4]


def test_a_long_history_is_read_in_few_calls() -> None:
    chain = MemoryChain()
    for number in range(500):
        chain.mine(vote(number))
    reader = stream(chain, chunk=200)
    assert motions(reader.poll()) == list(range(500))
    assert reader.calls < 60


def test_logs_of_other_contracts_are_none_of_ours() -> None:
    chain = MemoryChain()
    chain.mine({**vote(1), "address": account(9).address}, vote(2))
    assert motions(stream(chain).poll()) == [2]


@given(st.integers(0, 40), st.integers(0, 30))
@settings(deadline=None)
def test_a_reader_goes_on_after_any_event_in_another_process(blocks: int, read: int) -> None:
    chain = MemoryChain()
    for number in range(blocks):
        chain.mine(*(vote(100 * number + index) for index in range(number % 4)))
    events = stream(chain).poll()
    for event in events[read : read + 1]:
        kept = json.dumps(Cursor.after(event).to_json())
        assert stream(chain, cursor=Cursor.from_json(json.loads(kept))).poll() == events[read + 1 :]


@given(
    st.lists(st.integers(0, 25), max_size=12),
    st.lists(st.sampled_from([None, None, *Trouble]), max_size=60),
    st.integers(1, 9),
    st.booleans(),
)
@settings(deadline=None)
def test_outages_stale_heads_and_restarts_lose_and_double_nothing(
    bursts: list[int], troubles: list[Trouble | None], chunk: int, restarts: bool
) -> None:
    chain = MemoryChain()
    rpc = TroubledRpc(chain, lambda _: troubles.pop(0) if troubles else None)
    reader, seen, motion = stream(chain, rpc, chunk=chunk), [], 0
    for burst in [*bursts, 0]:
        for _ in range(burst):
            motion += 1
            chain.mine(*([vote(motion)] if motion % 3 else []))
        with contextlib.suppress(RpcUnreachable):
            seen += reader.poll()
        if restarts:
            reader = stream(chain, rpc, Cursor.from_json(reader.cursor.to_json()), chunk)
    troubles.clear()
    seen += reader.poll()
    assert motions(seen) == [number for number in range(1, motion + 1) if number % 3]


def test_a_node_that_lags_is_waited_for() -> None:
    chain, trouble = MemoryChain(), [Trouble.BEHIND]
    rpc = TroubledRpc(chain, lambda _: trouble[0] if trouble else None, behind=2)
    for number in range(5):
        chain.mine(vote(number))
    reader = stream(chain, rpc)
    assert motions(reader.poll()) == [0, 1, 2]
    trouble.clear()
    assert motions(reader.poll()) == [3, 4]
    trouble.append(Trouble.BEHIND)
    chain.mine(vote(5))
    assert reader.poll() == []
    trouble.clear()
    assert motions(reader.poll()) == [5]


def test_a_chain_that_was_reset_is_noticed_while_it_is_shorter() -> None:
    chain = MemoryChain()
    for _ in range(5):
        chain.mine(vote(1))
    reader = stream(chain)
    reader.poll()
    chain.reset()
    with pytest.raises(ChainMismatch, match="genesis"):
        reader.poll()


@pytest.mark.parametrize("after", [6, 7, 40])
def test_a_chain_that_was_reset_is_noticed_when_it_has_grown_again(after: int) -> None:
    chain = MemoryChain()
    for _ in range(5):
        chain.mine(vote(1))
    reader = stream(chain)
    reader.poll()
    chain.reset()
    for _ in range(after):
        chain.mine(vote(2))
    with pytest.raises(ChainMismatch, match="history"):
        reader.poll()
    with pytest.raises(ChainMismatch):  # and again: it is never followed
        reader.poll()


@pytest.mark.parametrize("after", [1, 30])
def test_history_that_was_rewritten_is_noticed(after: int) -> None:
    chain = MemoryChain()
    for number in range(10):
        chain.mine(vote(number))
    reader = stream(chain)
    reader.poll()
    chain.rewrite(3)
    for _ in range(after):
        chain.mine(vote(99))
    with pytest.raises(ChainMismatch, match="rewritten or reset"):
        reader.poll()


@pytest.mark.parametrize("empty", [1, 20])
def test_blocks_without_events_may_be_replaced(empty: int) -> None:
    chain = MemoryChain()
    chain.mine(vote(1))
    for _ in range(empty):
        chain.mine()
    reader = stream(chain)
    assert motions(reader.poll()) == [1]
    chain.rewrite(min(3, empty))
    for number in range(30):
        chain.mine(vote(10 + number))
    found: list[Event] = []
    while len(found) < 30:
        found += reader.poll()
    assert motions(found) == [10 + number for number in range(30)]


def test_a_node_that_shows_two_histories_at_once_leads_nobody_in_circles() -> None:
    class TwoFaced(MemoryChain):
        def call(self, method: str, *params: Any) -> Any:
            answer = super().call(method, *params)
            lies = method == "eth_getBlockByNumber" and params[0] == "0x2"
            return {**answer, "parentHash": "0x" + "11" * 32} if lies else answer

    chain = TwoFaced()
    chain.mine()
    reader = stream(chain)
    reader.poll()
    chain.mine()
    with pytest.raises(ChainMismatch, match="two histories at once"):
        reader.poll()


def test_a_cursor_of_another_history_is_noticed_at_once() -> None:
    chain = MemoryChain()
    chain.mine(vote(1))
    with pytest.raises(ChainMismatch):
        stream(chain, cursor=Cursor(1, b"\x07" * 32)).poll()
    with pytest.raises(ChainMismatch):
        stream(chain, cursor=Cursor(1, b"\x07" * 32, 0)).poll()


def test_another_chain_is_noticed_at_the_first_poll() -> None:
    chain, other = MemoryChain(), MemoryChain()
    other.reset()
    with pytest.raises(ChainMismatch, match="another genesis"):
        stream(chain, other).poll()


def test_a_node_that_refuses_long_ranges_is_asked_for_shorter_ones() -> None:
    class Petty(MemoryChain):
        def call(self, method: str, *params: Any) -> Any:
            if method == "eth_getLogs" and "toBlock" in params[0]:
                span = int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) + 1
                if span > 10:
                    raise RpcRefused(-32005, "query exceeds max block range")
            return super().call(method, *params)

    chain = Petty()
    for number in range(100):
        chain.mine(vote(number))
    assert motions(stream(chain).poll()) == list(range(100))


def test_a_node_that_refuses_every_range_says_so() -> None:
    class Closed(MemoryChain):
        def call(self, method: str, *params: Any) -> Any:
            if method == "eth_getLogs":
                raise RpcRefused(-32601, "eth_getLogs is disabled")
            return super().call(method, *params)

    chain = Closed()
    for number in range(40):
        chain.mine(vote(number))
    with pytest.raises(RpcRefused, match="disabled"):
        stream(chain).poll()


def test_a_timestamp_that_the_node_does_not_put_into_its_logs_is_looked_up() -> None:
    chain = MemoryChain(dates_logs=False)
    for number in range(50):
        chain.mine(vote(number))
    events = stream(chain).poll()
    assert [event.at.timestamp for event in events] == [1_700_000_000 + event.at.block for event in events]


@pytest.mark.parametrize("value", [None, [], [1], [1, 2, 3], ["1", None, 0], [1, "ab", 0], {}, [1, "zz" * 32, 0]])
def test_a_cursor_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"cursor|hexadecimal"):
        Cursor.from_json(value)


def test_a_real_chain_is_followed_from_its_first_event(world: World) -> None:
    reader = EventStream(world.ledger)
    events = reader.poll()
    assert [event.name for event in events if isinstance(event, SiteAdmitted)] == [f"site-{seat}" for seat in range(4)]
    receipt = world.ledger.publish_addresses(["/ip4/10.0.0.1/tcp/4001"])
    assert reader.poll() == list(receipt.events)
