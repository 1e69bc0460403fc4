"""Opening a direct connection from both ends: the port it takes, the roles, and what a peer may make us dial.

That it gets through routers is shown in network namespaces (tests/wan/test_nat.py).
"""

import pytest
import trio
from libp2p.abc import INetStream
from libp2p.relay.circuit_v2.pb.dcutr_pb2 import HolePunch
from multiaddr import Multiaddr
from network_attackers import attacker
from network_world import LISTEN, SMALL, make_libp2p, running, until
from relay_world import hidden_site, relay_site, running_behind, view

from node.network.channel import ChannelClosed, open_stream
from node.network.frames import MalformedFrame
from node.network.host import open_network
from node.network.relay import punch, wire
from node.network.relay.punch import MAX_TARGETS, _targets
from node.network.tcp import connect_from


def message(*addresses: str) -> HolePunch:
    return HolePunch(type=HolePunch.CONNECT, ObsAddrs=[Multiaddr(text).to_bytes() for text in addresses])


@pytest.mark.parametrize(
    "address",
    ["/ip4/127.0.0.1/tcp/22", "/ip4/0.0.0.0/tcp/1", "/ip4/224.0.0.1/tcp/1", "/ip4/169.254.1.1/tcp/1", "/ip6/::1/tcp/1"],
)
def test_nobody_has_us_dial_this_machine_or_everybody(address: str) -> None:
    assert _targets(message(address)) == []


def test_only_a_few_addresses_are_dialled() -> None:
    many = [f"/ip4/192.0.2.{number}/tcp/4001" for number in range(1, 50)]
    assert len(_targets(message(*many))) == MAX_TARGETS


@pytest.mark.parametrize("address", ["/dns4/hospital.example/tcp/1", "/ip4/192.0.2.1/udp/1", "/ip4/192.0.2.1"])
def test_what_is_no_tcp_address_is_malformed(address: str) -> None:
    with pytest.raises(MalformedFrame):
        _targets(message(address))


def test_bytes_that_are_no_address_are_malformed() -> None:
    with pytest.raises(MalformedFrame):
        _targets(HolePunch(type=HolePunch.CONNECT, ObsAddrs=[b"\xff\xff\xff"]))


async def test_a_site_calls_from_the_port_it_listens_on_and_nobody_else_can_listen_there() -> None:
    site = make_libp2p(0)
    (elsewhere,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with elsewhere, running(site):
        port = int(Multiaddr(site.network.addresses()[0]).value_for_protocol("tcp"))
        there = elsewhere.socket.getsockname()[1]
        async with await connect_from(("127.0.0.1", port), "127.0.0.1", there) as stream:
            assert stream.socket.getsockname()[1] == port
        rival = open_network(
            bytes([9]) * 32,
            site.store,
            site.network._hello,
            listen=LISTEN.replace("/tcp/0", f"/tcp/{port}"),
            may_serve=lambda who, blob: False,
        )
        with pytest.raises(OSError, match="can't listen"):
            await rival.run()


async def test_a_punch_on_a_direct_connection_is_malformed() -> None:
    victim = make_libp2p(0)
    async with running(victim), attacker(victim) as connection:
        stream: INetStream = await open_stream(connection, wire.PUNCH_PROTOCOL)
        await wire.write(stream, wire.punch([]))
        with pytest.raises(ChannelClosed):
            await wire.read(stream, HolePunch)
        await until(lambda: "malformed" in victim.kinds())


async def test_two_sites_on_a_relay_move_to_a_direct_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """On one machine, where no router is in the way: what is offered must only be let through."""
    relay, one, other = relay_site(0), hidden_site(1), hidden_site(2)
    blob = other.store.give(SMALL).blob
    monkeypatch.setattr(punch, "_may_be_dialled", lambda host: True)
    async with running_behind([relay], [one, other]):
        await until(lambda: view(one, other).connected and view(one, other).relay is None)
        await until(lambda: view(other, one).connected and view(other, one).relay is None)
        await one.network.pull(blob, [other.address], max_bytes=1 << 20)
    assert one.store.has(blob)
