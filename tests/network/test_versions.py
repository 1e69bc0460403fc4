"""Two versions that can't work together say so, once, to both operators, with who must upgrade."""

from dataclasses import replace

import pytest
from network_attackers import address, swarm_of
from network_world import HELLO, Site, make_libp2p, meshed, running, until
from relay_world import view

from node.network.port import FaultKind, Hello

OLD = replace(HELLO, software="swarm-node/1.0", protocol=3, oldest=2)
NEW = replace(HELLO, software="swarm-node/2.0", protocol=5, oldest=4)


def mismatches(site: Site) -> list[str]:
    return [fault.detail for fault in site.faults if fault.kind is FaultKind.MISMATCH]


async def test_both_operators_hear_once_who_runs_what_and_who_must_upgrade() -> None:
    old, new = make_libp2p(0, OLD), make_libp2p(1, NEW)
    async with running(old, new):
        await until(lambda: mismatches(old) != [] and mismatches(new) != [])
        for site in (old, new):
            other = new if site is old else old
            site.network.peer(other.address)._woken.set()  # tries again
        await until(lambda: "protocol" in (view(old, new).fault or "") and "protocol" in (view(new, old).fault or ""))
        assert view(old, new).hello == replace(NEW, contract=NEW.contract.lower())
        assert not view(old, new).connected
    assert mismatches(old) == [
        "it runs swarm-node/2.0 (protocol 5), this site runs swarm-node/1.0 (protocol 3): "
        "this site must be upgraded to protocol 4 or later"
    ]
    assert mismatches(new) == [
        "it runs swarm-node/1.0 (protocol 3), this site runs swarm-node/2.0 (protocol 5): "
        "its operator must upgrade it to protocol 4 or later"
    ]


async def test_a_newer_protocol_that_understands_the_older_one_is_welcome() -> None:
    old, new = make_libp2p(0, OLD), make_libp2p(1, replace(NEW, oldest=3))
    async with running(old, new):
        await meshed(old, new)
        assert view(old, new).hello.software == "swarm-node/2.0"


@pytest.mark.parametrize(
    ("mine", "theirs", "fits"),
    [((2, 2), (2, 2), True), ((2, 1), (1, 1), True), ((2, 2), (1, 1), False), ((1, 1), (2, 2), False)],
)
def test_protocols_fit_where_each_understands_the_other(
    mine: tuple[int, int], theirs: tuple[int, int], fits: bool
) -> None:
    one, other = (Hello(1, HELLO.contract, "x", protocol, oldest) for protocol, oldest in (mine, theirs))
    assert (one.disagreement(other) is None) is fits
    assert (other.disagreement(one) is None) is fits


async def test_a_member_that_does_not_know_the_hello_is_told_apart_from_one_that_is_away() -> None:
    site = make_libp2p(0)

    async def knows_nothing(stream: object) -> None:
        from libp2p.protocol_muxer.multiselect import Multiselect

        from node.network.hardening import BoundedCommunicator

        await Multiselect({"/swarm/control/1": None}).negotiate(BoundedCommunicator(stream))  # type: ignore[arg-type]

    async with running(site), swarm_of(listen=True) as (swarm, gate):
        swarm.set_stream_handler(knows_nothing)
        gate.set_members([site.address])
        (listener,) = swarm.listeners.values()
        (bound,) = listener.get_addrs()
        site.network.set_members({address(): [f"{bound}/p2p/{swarm.get_peer_id()}"]})
        await until(lambda: mismatches(site) != [])
    assert "it doesn't speak /swarm/control/2, so it runs a version from before protocol 2" in mismatches(site)[0]
    assert "its operator must upgrade it" in mismatches(site)[0]
