"""Members that can't reach each other talk through a third, which has limits and sees ciphertext."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from libp2p.abc import INetConn
from network_attackers import address, attacker, swarm_of
from network_world import LARGE, Site, key_of, make_libp2p, until
from relay_world import CLOSE, NOWHERE, hidden_site, publish, relay_site, relayed, running_behind, view

from node.network.channel import ChannelClosed
from node.network.muxer import SturdyStream
from node.network.peer_id import address_of, circuit_address, dial_target, peer_id
from node.network.pull import SourceFailed
from node.network.relay import client
from node.network.relay.limits import RelayLimits, UseRelays
from node.network.relay.service import PIECE_BYTES
from node.network.swarm import SturdySwarm

ANY = 1 << 30


async def connected_through(one: Site, other: Site, *relays: Site) -> None:
    addresses = {relay.address for relay in relays}
    await until(lambda: view(one, other).relay in addresses and view(other, one).relay in addresses)


async def test_two_hidden_sites_pull_blobs_from_each_other_through_a_relay() -> None:
    relay, one, other = relay_site(0), hidden_site(1), hidden_site(2)
    mine, theirs = one.store.give(LARGE, 1), other.store.give(LARGE, 2)
    async with running_behind([relay], [one, other]):
        await connected_through(one, other, relay)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: one.network.pull(theirs.blob, [other.address], max_bytes=ANY))
            nursery.start_soon(lambda: other.network.pull(mine.blob, [one.address], max_bytes=ANY))
    assert one.store.has(theirs.blob)
    assert other.store.has(mine.blob)
    assert {*one.kinds(), *other.kinds()} <= {"unreachable"}  # which they were, until a relay took their calls


async def test_a_hidden_site_is_dialled_at_a_short_address_with_its_relay_and_its_key() -> None:
    relay, hidden = relay_site(0), hidden_site(1)
    async with running_behind([relay], [hidden]):
        assert relayed(hidden) == [f"/p2p/{peer_id(key_of(0))}/p2p-circuit/p2p/{peer_id(key_of(1))}"]
        assert len(relayed(hidden)[0]) < 160


async def test_a_site_that_members_can_dial_asks_no_relay() -> None:
    relay, site = relay_site(0), make_libp2p(1, tuning=CLOSE, use_relays=UseRelays.AUTO)
    async with running_behind([relay, site], []):
        await until(lambda: site.network.reachability.witnesses != {})
        assert not site.network.reachability.hidden
        assert relayed(site) == []


async def test_a_site_that_a_member_cannot_dial_asks_relays_by_itself() -> None:
    relay = relay_site(0)
    hidden = make_libp2p(1, tuning=CLOSE, use_relays=UseRelays.AUTO, announce=(NOWHERE,))
    async with running_behind([relay], [hidden]):
        assert hidden.network.reachability.hidden


async def test_a_hidden_site_keeps_a_place_at_two_relays_and_uses_the_other_when_one_dies() -> None:
    first, second, one, other = relay_site(0), relay_site(3), hidden_site(1), hidden_site(2)
    blob = other.store.give(LARGE).blob
    async with running_behind([first, second], [one, other]):
        await connected_through(one, other, first, second)
        dead, alive = (first, second) if view(one, other).relay == first.address else (second, first)
        for site in (alive, one, other):
            site.network.set_members(members_without(dead, site))
        await connected_through(one, other, alive)
        await one.network.pull(blob, [other.address], max_bytes=ANY)
    assert one.store.has(blob)


def members_without(dead: Site, site: Site) -> dict[str, tuple[str, ...]]:
    peers = site.network._peers
    kept = {address: peer.dialler.published for address, peer in peers.items() if address != dead.address}
    return {site.address: (), **kept}


async def test_a_pull_goes_on_where_a_relay_has_cut_the_circuit() -> None:
    limits = RelayLimits(circuit_bytes=LARGE // 2)
    relay, one, other = relay_site(0, limits), hidden_site(1), hidden_site(2)
    blob = other.store.give(LARGE).blob
    async with running_behind([relay], [one, other]):
        await connected_through(one, other, relay)
        for _ in range(20):
            with suppress(Exception):
                await one.network.pull(blob, [other.address], max_bytes=ANY)
                break
        assert one.store.has(blob)
    assert len(other.store.asked) < 30  # chunks that were verified are not asked for again


async def test_a_circuit_ends_when_its_time_is_over_and_the_sites_connect_anew() -> None:
    relay, one, other = relay_site(0, RelayLimits(circuit_seconds=0.3)), hidden_site(1), hidden_site(2)
    async with running_behind([relay], [one, other]):
        for _ in range(2):
            await connected_through(one, other, relay)
            await until(lambda: not view(one, other).connected)


async def test_removing_a_member_cuts_its_circuits() -> None:
    relay, one, other = relay_site(0), hidden_site(1), hidden_site(2)
    async with running_behind([relay], [one, other]):
        await connected_through(one, other, relay)
        one.network.set_members({one.address: (), relay.address: relay.network.addresses()})
        await until(lambda: one.address not in other.network.connected())
        assert one.network.connected() == {relay.address}


async def test_the_relay_carries_ciphertext(monkeypatch: pytest.MonkeyPatch) -> None:
    relay, one, other = relay_site(0), hidden_site(1), hidden_site(2)
    blob = other.store.give(LARGE)
    carried = bytearray()
    read = SturdyStream.read

    async def overheard(stream: SturdyStream, n: int | None = -1) -> bytes:
        data = bytes(await read(stream, n))
        if n == PIECE_BYTES:  # only the relay reads in such pieces
            carried.extend(data)
        return data

    monkeypatch.setattr(SturdyStream, "read", overheard)
    async with running_behind([relay], [one, other]):
        await connected_through(one, other, relay)
        await one.network.pull(blob.blob, [other.address], max_bytes=ANY)
        inner = one.network.peer(other.address)._connection.muxed_conn
        assert address_of(inner.secured_conn.get_remote_peer()) == other.address
    assert len(carried) > LARGE
    assert other.store.read_chunk(blob.blob, 0)[1000:1064] not in carried
    assert other.address.encode() not in carried


# -- members that don't play by the rules, and strangers


@asynccontextmanager
async def calling(relay: Site, number: int = 50) -> AsyncIterator[tuple[SturdySwarm, INetConn]]:
    """A raw member of the relay, which may ask whatever it likes."""
    async with attacker(relay) as connection:
        yield connection.swarm, connection


async def test_a_flood_of_reservations_costs_one_place_and_is_noted() -> None:
    relay = relay_site(0, RelayLimits(requests_per_minute=5))
    async with one_relay(relay), calling(relay) as (_, connection):
        for _ in range(5):
            assert await client.reserve(connection) > 0
        with pytest.raises(SourceFailed, match="resource limit exceeded"):
            await client.reserve(connection)
        await until(lambda: "malformed" in relay.kinds())
        assert len(relay.network.relaying.relay.reservations()) == 1
    assert "more than 5 times in a minute" in relay.faults[-1].detail


async def test_a_relay_that_is_full_refuses() -> None:
    relay = relay_site(0, RelayLimits(reservations=0))
    async with one_relay(relay), calling(relay) as (_, connection):
        with pytest.raises(SourceFailed, match="reservation refused"):
            await client.reserve(connection)


async def test_a_member_has_a_bounded_number_of_circuits() -> None:
    relay, one, other = relay_site(0, RelayLimits(circuits_per_member=0)), hidden_site(1), hidden_site(2)
    async with running_behind([relay], [one, other]):
        with pytest.raises(SourceFailed, match="resource limit exceeded"):
            await one.network.relaying.through(relay.address, peer_id(key_of(2)))


async def test_a_member_that_keeps_no_place_is_not_called() -> None:
    relay, one, other = relay_site(0), hidden_site(1), make_libp2p(2, tuning=CLOSE)
    async with running_behind([relay], [one]):
        with pytest.raises(SourceFailed, match="no reservation"):
            await one.network.relaying.through(relay.address, peer_id(key_of(2)))
    assert other.faults == []


async def test_a_site_that_does_not_offer_it_relays_nothing() -> None:
    site = make_libp2p(0)
    async with one_relay(site), calling(site) as (_, connection):
        with pytest.raises(SourceFailed, match="doesn't speak"):
            await client.reserve(connection)


async def test_a_stranger_can_neither_keep_a_place_nor_call_through() -> None:
    relay, hidden = relay_site(0), hidden_site(1)
    async with running_behind([relay], [hidden]), swarm_of() as (swarm, gate):
        gate.set_members([relay.address])
        with suppress(Exception):
            peer, target = dial_target(relay.address, relay.network.addresses()[0])
            connection = await swarm.dial_addr(target, peer)
            with pytest.raises((SourceFailed, ChannelClosed)):
                await client.reserve(connection)
        assert relay.network.relaying.relay.reservations() == {hidden.address}


async def test_a_relay_cannot_bring_in_somebody_who_is_no_member() -> None:
    relay, hidden = relay_site(0), hidden_site(1)
    async with running_behind([relay], [hidden]):
        publish([relay], [hidden])
        async with attacker_of_relay(relay) as (swarm, connection), trio.open_nursery() as nursery:
            with pytest.raises(SourceFailed, match="connection failed"):
                await client.call(connection, relay.address, peer_id(key_of(1)), swarm, nursery)
        assert hidden.network.connected() == {relay.address}


@asynccontextmanager
async def attacker_of_relay(relay: Site) -> AsyncIterator[tuple[SturdySwarm, INetConn]]:
    """Somebody whom the relay takes for a member, and nobody else does."""
    async with swarm_of() as (swarm, gate):
        gate.set_members([relay.address, address_of(peer_id(key_of(1)))])
        relay.network.set_members(
            {address(): (), **{one: peer.dialler.published for one, peer in relay.network._peers.items()}}
        )
        peer, target = dial_target(relay.address, relay.network.addresses()[0])
        yield swarm, await swarm.dial_addr(target, peer)


async def test_a_wrong_key_behind_a_relayed_address_is_not_talked_to() -> None:
    relay, one, other = relay_site(0), hidden_site(1), hidden_site(2)
    async with running_behind([relay], [one, other]):
        await connected_through(one, other, relay)
        stolen = circuit_address(peer_id(key_of(0)), peer_id(key_of(2)))
        absent = address_of(peer_id(key_of(9)))
        one.network.set_members(
            {absent: [stolen], **{a: peer.dialler.published for a, peer in one.network._peers.items()}}
        )
        await until(lambda: any(fault.address == absent for fault in one.faults))
        assert "names the key of" in next(fault.detail for fault in one.faults if fault.address == absent)


async def test_a_relay_that_connects_another_member_than_the_one_called_gains_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    relay, one, other, third = relay_site(0), hidden_site(1), hidden_site(2), hidden_site(3)
    async with running_behind([relay], [one, other, third]):
        crooked = relay.network.relaying.relay
        honest = crooked._call
        monkeypatch.setattr(crooked, "_call", lambda caller, target: honest(caller, third.address))
        with pytest.raises(Exception, match="security"):
            await one.network.relaying.through(relay.address, peer_id(key_of(2)))


@asynccontextmanager
async def one_relay(relay: Site) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(relay.network.run)
        yield
        nursery.cancel_scope.cancel()
