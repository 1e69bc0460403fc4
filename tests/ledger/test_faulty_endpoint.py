"""A node's endpoint that fails in every way that nodes do: nothing is lost, doubled or done twice, and it is said."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ledger_world import Site, World, found

from ledger.calls import Receipt
from ledger.client import Ledger
from ledger.devnet import Devnet
from ledger.errors import ChainMismatch, LedgerError, RpcUnreachable, TransactionTimeout
from ledger.events import Event
from ledger.failover import Endpoints
from ledger.rpc import connect
from ledger.stream import EventStream
from tests.ledger.faulty_endpoint import FaultyEndpoint, RpcFault

QUICK = 0.2


@pytest.fixture
def endpoint(world: World) -> Iterator[FaultyEndpoint]:
    with FaultyEndpoint(world.devnet.ipc, delay=0.05) as made:
        yield made


@pytest.fixture
def patient(world: World, endpoint: FaultyEndpoint) -> Iterator[Ledger]:
    """The second site's ledger, through the endpoint."""
    with connect(endpoint.url, timeout=QUICK) as rpc:
        yield Ledger(rpc, world.deployment, world.sites[1].ledger.account, timeout=60)


def addresses(number: int) -> list[str]:
    return [f"/ip4/10.0.0.1/tcp/{number}"]


def truth(world: World) -> list[Event]:
    return EventStream(world.ledger).poll()


def wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.005)


def poll_until(stream: EventStream, count: int) -> list[Event]:
    """Poll until so many events have come; what goes wrong meanwhile goes wrong."""
    events: list[Event] = []
    deadline = time.monotonic() + 60
    while len(events) < count and time.monotonic() < deadline:
        with contextlib.suppress(LedgerError):
            events += stream.poll()
    return events


SAID = {
    RpcFault.STALLS: "no answer in time",
    RpcFault.DROPS: "can't be reached",
    RpcFault.IS_DOWN: "can't be reached",
    RpcFault.BABBLES: "where a number is needed",
}


@pytest.mark.parametrize("fault", [*RpcFault])
def test_a_reader_loses_and_doubles_no_event(world: World, endpoint: FaultyEndpoint, fault: RpcFault) -> None:
    with connect(endpoint.url, timeout=QUICK) as rpc:
        stream = EventStream(Ledger(rpc, world.deployment))
        seen = stream.poll()
        endpoint.set(fault)
        for number in range(3):
            world.ledger.publish_addresses(addresses(number))
            if fault in SAID:
                with pytest.raises(LedgerError, match=SAID[fault]):
                    stream.poll()
                continue
            with contextlib.suppress(LedgerError):
                seen += stream.poll()
        endpoint.set(None)
        told = truth(world)
        seen += poll_until(stream, len(told) - len(seen))
    assert seen == told


def test_a_lie_about_a_block_without_events_is_taken_back(world: World, endpoint: FaultyEndpoint) -> None:
    with connect(endpoint.url) as rpc:
        stream = EventStream(Ledger(rpc, world.deployment))
        stream.poll()
        endpoint.set(RpcFault.LIES)
        world.devnet.advance(1)  # one block without an event
        stream.poll()
        assert stream.tip is not None
        assert stream.tip != world.ledger.block(stream.tip.number)  # it has believed it
        endpoint.set(None)
        receipt = world.ledger.publish_addresses(addresses(1))
        assert poll_until(stream, 1) == list(receipt.events)
        assert stream.tip == world.ledger.block(stream.tip.number)


def test_another_history_is_not_followed_and_the_right_one_is_again(own_devnet: Devnet, tmp_path: Path) -> None:
    """Two nodes on two histories: the chain parted after the contracts were deployed, and each has gone on."""
    world = found(own_devnet, 2)
    own_devnet.stop()
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "chain.jsonl").write_bytes((own_devnet.folder / "chain.jsonl").read_bytes())
    own_devnet._begin()
    with Devnet.start(copy) as another, FaultyEndpoint(own_devnet.ipc, another=another.ipc) as endpoint:
        there = Ledger(another.rpc(), world.deployment, world.sites[0].ledger.account)
        there.publish_addresses(addresses(1))
        world.ledger.publish_addresses(addresses(2))
        with connect(endpoint.url) as rpc:
            stream = EventStream(Ledger(rpc, world.deployment))
            seen = stream.poll()
            endpoint.set(RpcFault.FORKED)
            for number in range(3):
                there.publish_addresses(addresses(10 + number))
            for _ in range(3):
                with pytest.raises(ChainMismatch, match=r"rewritten or reset|two histories"):
                    stream.poll()
            endpoint.set(None)
            receipt = world.ledger.publish_addresses(addresses(3))
            assert poll_until(stream, 1) == list(receipt.events)
        assert [*seen, *receipt.events] == truth(world)


@pytest.mark.parametrize("fault", [fault for fault in RpcFault if fault is not RpcFault.FORKED])
def test_a_commit_counts_once_whatever_the_endpoint_does(
    world: World, endpoint: FaultyEndpoint, patient: Ledger, fault: RpcFault
) -> None:
    study = world.run_study()
    site = Site(patient, world.sites[1].links)
    done: list[Receipt] = []
    commitment = world.commitment(world.sites[1])
    sending = threading.Thread(target=lambda: done.append(patient.commit(study, 1, 0, commitment)))
    endpoint.set(fault)
    sending.start()
    wait_until(lambda: endpoint.asked.total() > 2 or bool(done) or fault is RpcFault.IS_DOWN)
    endpoint.set(None)
    sending.join()
    (receipt,) = done
    assert site.ledger.account is not None
    assert [event for event in truth(world) if event.at.tx == receipt.tx] == list(receipt.events)
    assert int(world.ledger.rpc.call("eth_getTransactionCount", site.ledger.account.address, "latest"), 16) == 2


def test_a_transaction_that_is_never_mined_is_told_of_and_does_no_harm(world: World, endpoint: FaultyEndpoint) -> None:
    endpoint.set(RpcFault.SWALLOWS)
    with connect(endpoint.url) as rpc:
        ledger = Ledger(rpc, world.deployment, world.sites[1].ledger.account, timeout=QUICK)
        with pytest.raises(TransactionTimeout, match=r"is not in a block after .* may still get into one"):
            ledger.publish_addresses(addresses(1))
        endpoint.set(None)
        receipt = Ledger(rpc, world.deployment, world.sites[1].ledger.account).publish_addresses(addresses(2))
    assert truth(world)[-1:] == list(receipt.events)


# -- several nodes of one operator -----------------------------------------------------------------------------------


@pytest.fixture
def second(world: World) -> Iterator[FaultyEndpoint]:
    with FaultyEndpoint(world.devnet.ipc) as made:
        yield made


@pytest.fixture
def both(endpoint: FaultyEndpoint, second: FaultyEndpoint) -> Iterator[tuple[Endpoints, list[tuple[str, str]]]]:
    switches: list[tuple[str, str]] = []
    nodes = [connect(one.url, timeout=QUICK) for one in (endpoint, second)]
    with Endpoints(nodes, lambda to, why: switches.append((to, why))) as endpoints:
        yield endpoints, switches


Both = tuple[Endpoints, list[tuple[str, str]]]


@pytest.mark.parametrize("fault", [RpcFault.STALLS, RpcFault.DROPS, RpcFault.IS_DOWN])
def test_a_read_goes_to_the_next_node_and_it_is_said_why(
    both: Both, endpoint: FaultyEndpoint, second: FaultyEndpoint, fault: RpcFault
) -> None:
    endpoints, switches = both
    endpoints.call("eth_chainId")
    assert (second.asked.total(), switches) == (0, [])
    endpoint.set(fault)
    assert endpoints.call("eth_chainId") == hex(4711)
    ((to, why),) = switches
    assert to == second.url
    assert endpoint.url in why
    endpoint.set(None)
    endpoints.call("eth_chainId")
    assert len(switches) == 1  # there is no going back and forth


def test_where_no_node_answers_all_are_named(both: Both, endpoint: FaultyEndpoint, second: FaultyEndpoint) -> None:
    endpoints, _ = both
    endpoint.set(RpcFault.IS_DOWN)
    second.set(RpcFault.IS_DOWN)
    with pytest.raises(RpcUnreachable) as caught:
        endpoints.call("eth_chainId")
    assert endpoint.url in str(caught.value)
    assert second.url in str(caught.value)


@pytest.mark.parametrize("fault", [RpcFault.STALLS, RpcFault.DROPS, RpcFault.IS_DOWN, RpcFault.SWALLOWS])
def test_a_transaction_gets_through_by_the_other_node_once(
    world: World, both: Both, endpoint: FaultyEndpoint, fault: RpcFault
) -> None:
    endpoints, switches = both
    ledger = Ledger(endpoints, world.deployment, world.sites[1].ledger.account)
    endpoint.set(fault)
    receipt = ledger.publish_addresses(addresses(7))
    assert switches
    assert [event for event in truth(world) if event.at.tx == receipt.tx] == list(receipt.events)


def test_a_node_that_contradicts_is_left_for_the_other(world: World, both: Both, endpoint: FaultyEndpoint) -> None:
    endpoints, _ = both
    stream = EventStream(Ledger(endpoints, world.deployment))
    stream.poll()
    endpoint.set(RpcFault.LIES)
    world.ledger.publish_addresses(addresses(1))
    with pytest.raises(LedgerError):
        stream.poll()  # it has no events of the block that it made up
    endpoints.move_on("it lies")
    assert stream.poll() == truth(world)[-1:]
