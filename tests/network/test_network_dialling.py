"""Finding the members: their names, their addresses, and who calls whom."""

import socket
from dataclasses import replace

import pytest
import trio
from eth_account import Account
from libp2p.crypto.ed25519 import create_new_key_pair as create_ed25519
from libp2p.crypto.secp256k1 import create_new_key_pair
from libp2p.peer.id import ID
from multiaddr import Multiaddr
from network_world import (
    HELLO,
    LISTEN,
    QUICK,
    SMALL,
    Site,
    Store,
    introduce,
    key_of,
    make_libp2p,
    meshed,
    running,
    until,
)

from node.network.host import open_network
from node.network.peer_id import address_of, dial_target, peer_id

ANY = 1 << 30


@pytest.mark.parametrize("number", range(8))
def test_a_peer_id_and_an_account_are_one_key(number: int) -> None:
    secret = key_of(number) if number < 4 else bytes(31) + bytes([number])
    assert address_of(peer_id(secret)) == Account.from_key(secret).address


def test_the_network_goes_by_the_accounts_address() -> None:
    assert make_libp2p(3).address == Account.from_key(key_of(3)).address


@pytest.mark.parametrize("peer", [ID.from_pubkey(create_ed25519().public_key), ID(b""), ID(b"\0\x25"), ID(b"x" * 39)])
def test_a_peer_without_an_ethereum_key_has_no_address(peer: ID) -> None:
    with pytest.raises(ValueError, match="no secp256k1 key"):
        address_of(peer)


def test_a_dial_target_is_bound_to_its_member() -> None:
    peer = ID.from_pubkey(create_new_key_pair(key_of(1)).public_key)
    text = f"/dns4/hospital.example/tcp/4001/p2p/{peer}"
    assert dial_target(address_of(peer), text) == (peer, Multiaddr("/dns4/hospital.example/tcp/4001"))
    with pytest.raises(ValueError, match="names the key of"):
        dial_target(address_of(peer_id(key_of(2))), text)


def network(listen: str | list[str] = LISTEN, announce: tuple[str, ...] = ()) -> Site:
    made = open_network(
        key_of(0), Store(), HELLO, listen=listen, announce=announce, may_serve=lambda who, blob: True, tuning=QUICK
    )
    return Site(made, Store(), [])


async def test_every_address_names_the_key_and_a_real_port() -> None:
    site = network([LISTEN, "/ip4/127.0.0.2/tcp/0"])
    async with running(site):
        for text in site.network.addresses():
            _, target = dial_target(site.address, text)
            assert int(target.value_for_protocol("tcp")) > 0


async def test_a_wildcard_becomes_the_addresses_of_this_machine() -> None:
    site = network("/ip4/0.0.0.0/tcp/0")
    async with running(site):
        addresses = site.network.addresses()
    assert addresses
    assert all("/ip4/0.0.0.0/" not in text for text in addresses)


async def test_sites_meet_over_ip6() -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
    one, other = make_libp2p(0, listen="/ip6/::1/tcp/0"), make_libp2p(1, listen="/ip6/::1/tcp/0")
    async with running(one, other):
        await meshed(one, other)


async def test_what_is_announced_replaces_what_is_listened_on() -> None:
    site = network(announce=("/dns4/hospital.example/tcp/4001",))
    async with running(site):
        assert site.network.addresses() == [f"/dns4/hospital.example/tcp/4001/p2p/{peer_id(key_of(0))}"]


async def test_both_may_call_at_once() -> None:
    tuning = replace(QUICK, courtesy=0.0)
    one, other = make_libp2p(0, tuning=tuning), make_libp2p(1, tuning=tuning)
    async with running(one, other):
        for fill in range(5):
            introduce([one, other])
            await meshed(one, other)
            mine, theirs = one.store.give(SMALL, fill), other.store.give(SMALL, 100 + fill)
            async with trio.open_nursery() as nursery:
                for site, owner, blob in ((one, other, theirs.blob), (other, one, mine.blob)):
                    nursery.start_soon(lambda a=site, b=owner, c=blob: a.network.pull(c, [b.address], max_bytes=ANY))
            one.network.set_members({})
            await until(lambda: not other.network.connected())


async def test_a_member_that_cannot_be_dialled_calls_itself() -> None:
    one, hidden = make_libp2p(0), make_libp2p(1)
    manifest = hidden.store.give(SMALL)
    async with running(one, hidden):
        hidden.network.set_members({one.address: one.network.addresses()})
        one.network.set_members({hidden.address: []})
        await meshed(one, hidden)
        await one.network.pull(manifest.blob, [hidden.address], max_bytes=ANY)


async def test_a_member_that_accepts_and_says_nothing_does_not_hold_up_the_others() -> None:
    for_ever = replace(QUICK, connect=3600.0, stall=3600.0)
    site, honest = make_libp2p(0, tuning=for_ever), make_libp2p(1)
    manifest = honest.store.give(SMALL)
    silent = peer_id(key_of(2))
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, running(site, honest):
        port = listener.socket.getsockname()[1]
        site.network.set_members(
            {
                honest.address: honest.network.addresses(),
                address_of(silent): [f"/ip4/127.0.0.1/tcp/{port}/p2p/{silent}"],
            }
        )
        await site.network.pull(manifest.blob, [address_of(silent), honest.address], max_bytes=ANY)
    assert site.store.has(manifest.blob)


async def test_a_member_is_found_behind_an_address_that_does_not_answer() -> None:
    site, other = make_libp2p(0, tuning=replace(QUICK, connect=30.0)), make_libp2p(1)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, running(site, other):
        dead = f"/ip4/127.0.0.1/tcp/{listener.socket.getsockname()[1]}/p2p/{peer_id(key_of(1))}"
        other.network.set_members({site.address: []})
        site.network.set_members({other.address: [dead, *other.network.addresses()]})
        await until(lambda: site.network.connected() == {other.address})


@pytest.mark.parametrize("host", ["dns4/localhost", "dns/localhost", "ip4/127.0.0.1"])
async def test_a_name_is_resolved_as_the_machine_resolves_it(host: str) -> None:
    site, other = make_libp2p(0), make_libp2p(1)
    async with running(site, other):
        (where,) = other.network.addresses()
        other.network.set_members({site.address: []})
        site.network.set_members({other.address: [where.replace("ip4/127.0.0.1", host)]})
        await until(lambda: site.network.connected() == {other.address})


async def test_a_network_can_be_given_its_members_before_it_runs() -> None:
    one, other = make_libp2p(0), make_libp2p(1)
    async with running(other):
        one.network.set_members({other.address: other.network.addresses()})
        other.network.set_members({one.address: []})
        async with trio.open_nursery() as nursery:
            await nursery.start(one.network.run)
            await until(lambda: one.network.connected() == {other.address})
            nursery.cancel_scope.cancel()


async def test_eight_sites_find_each_other() -> None:
    patient = replace(QUICK, courtesy=2.0, connect=30.0)
    sites = [make_libp2p(number, tuning=patient) for number in range(8)]
    manifest = sites[0].store.give(SMALL)
    async with running(*sites):
        await meshed(*sites)
        async with trio.open_nursery() as nursery:
            for site in sites[1:]:
                nursery.start_soon(lambda a=site: a.network.pull(manifest.blob, [sites[0].address], max_bytes=ANY))


async def test_an_address_where_nobody_listens_is_named_with_the_systems_own_reason() -> None:
    site, absent = make_libp2p(0), make_libp2p(1)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with running(site):
        nowhere = f"/ip4/127.0.0.1/tcp/{port}"
        site.network.set_members({absent.address: [f"{nowhere}/p2p/{peer_id(key_of(1))}"]})

        def why() -> str:
            return next(one.fault or "" for one in site.network.peers())

        await until(lambda: nowhere in why())
        assert why() == f"{nowhere}: Connection refused"
