"""Where members are: what the ledger says, what they say of themselves, and what others have seen; each only a hint."""

import json

import pytest
import trio
from network_attackers import address, attacker, greeted, receive
from network_world import SMALL, Site, introduce, key_of, make_libp2p, meshed, running, until
from relay_world import CLOSE, NOWHERE, view

from node.network.errands import DIAL_BACK, HERE, PROBES_PER_MINUTE, WHERE, Probe
from node.network.errors import RequestFailed
from node.network.frames import FrameType, encode_ask
from node.network.peer_id import address_of, peer_id
from node.network.server import CONTROL_PROTOCOL

ANY = 1 << 30


def members(*sites: Site, **published: list[str]) -> dict[str, list[str]]:
    """What the ledger says: nothing, but of those named."""
    return {site.address: [] for site in sites} | published


# -- finding


async def test_a_member_that_has_moved_is_found_through_a_peer() -> None:
    knows, seeks, moved = (make_libp2p(number, tuning=CLOSE) for number in range(3))
    blob = moved.store.give(SMALL).blob
    stale = [f"{NOWHERE}/p2p/{peer_id(key_of(2))}"]
    async with running(knows, seeks, moved):
        introduce([knows, seeks, moved])
        moved.network.set_members(members(knows, seeks, **{knows.address: knows.network.addresses()}))
        knows.network.set_members(members(seeks, moved))
        await until(lambda: moved.address in knows.network.connected())
        seeks.network.set_members({knows.address: knows.network.addresses(), moved.address: stale})
        await until(lambda: moved.address in seeks.network.connected())
        await seeks.network.pull(blob, [moved.address], max_bytes=ANY)
    assert seeks.store.has(blob)


async def test_a_hint_that_names_another_key_is_left_out() -> None:
    one, other = make_libp2p(0), make_libp2p(1)
    async with running(one, other):
        await meshed(one, other)
        dialler = one.network.peer(other.address).dialler
        before = dialler.targets()
        another = f"/ip4/127.0.0.1/tcp/9/p2p/{peer_id(key_of(7))}"
        assert not dialler.hint([another, "nonsense", "/ip4/1.2.3.4", "x" * 999])
        assert dialler.targets() == before


async def test_hints_are_few_and_the_newest_stay() -> None:
    one, other = make_libp2p(0), make_libp2p(1)
    async with running(one, other):
        dialler = one.network.peer(other.address).dialler
        published = len(dialler.targets())
        for port in range(1, 100):
            dialler.hint([f"/ip4/127.0.0.1/tcp/{port}/p2p/{peer_id(key_of(1))}"])
        ports = [target.value_for_protocol("tcp") for _, target in dialler.targets()[published:]]
        assert ports[0] == "99"
        assert len(ports) == 8


async def test_a_hint_leads_to_nobody_but_the_member_itself() -> None:
    """Somebody else answers at the address that a peer has told."""
    one, other = make_libp2p(0), make_libp2p(1)
    async with running(one, other):
        (there,) = other.network.addresses()
        claimed = there.rsplit("/p2p/", 1)[0] + f"/p2p/{peer_id(key_of(7))}"
        absent = address_of(peer_id(key_of(7)))
        one.network.set_members({other.address: other.network.addresses(), absent: []})
        one.network.peer(absent).hint([claimed])
        await until(lambda: "does not correspond" in (view(one, absent).fault or ""))
        assert absent not in one.network.connected()


async def test_a_member_says_where_it_is_seen() -> None:
    one, other = make_libp2p(0), make_libp2p(1)
    async with running(one, other):
        await meshed(one, other)
        assert all(text.startswith("/ip4/127.0.0.1/tcp/") for text in await one.network.errands.seen_by(other.address))


# -- being dialled


async def test_a_member_tells_which_of_our_addresses_it_can_dial() -> None:
    one, other, stranger = make_libp2p(0), make_libp2p(1), make_libp2p(2)
    mine = f"/p2p/{peer_id(key_of(0))}"
    async with running(one, other), trio.open_nursery() as nursery:
        await nursery.start(stranger.network.run)
        await meshed(one, other)
        (good,) = one.network.addresses()
        (elsewhere,) = stranger.network.addresses()
        taken = elsewhere.rsplit("/p2p/", 1)[0] + mine
        untried = [f"/ip4/192.0.2.1/tcp/1{mine}", f"/dns4/example.org/tcp/1{mine}"]
        all_of_them = [good, NOWHERE + mine, taken, *untried]
        found = await one.network.errands.dialled_by(other.address, all_of_them)
        assert list(found.values()) == [
            Probe.REACHED,
            Probe.UNREACHED,
            Probe.STRANGER,
            Probe.NOT_TRIED,
            Probe.NOT_TRIED,
        ]
        assert other.address in one.network.connected()  # being dialled has cost no connection
        nursery.cancel_scope.cancel()


async def test_nobody_can_have_others_dialled() -> None:
    """An address of a third party is dialled only where the ledger gives it as the asker's own."""
    victim = make_libp2p(0)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.2")
    third = f"/ip4/127.0.0.2/tcp/{listener.socket.getsockname()[1]}/p2p/{peer_id(key_of(50))}"
    async with listener, running(victim), attacker(victim) as connection:
        channel = await greeted(connection, CONTROL_PROTOCOL)
        assert await asked(channel, DIAL_BACK, [third]) == {third: "not tried"}
        victim.network.set_members({address(): [third]})
        assert await asked(channel, DIAL_BACK, [third]) == {third: "stranger"}


async def test_being_dialled_can_be_asked_for_only_now_and_then() -> None:
    victim = make_libp2p(0)
    async with running(victim), attacker(victim) as connection:
        channel = await greeted(connection, CONTROL_PROTOCOL)
        for _ in range(PROBES_PER_MINUTE):
            assert await asked(channel, DIAL_BACK, []) == {}
        await channel.send(encode_ask(DIAL_BACK, b"[]"))
        kind, _ = await receive(channel)
        assert kind is FrameType.REFUSED


NONSENSE = {
    "not JSON": b"\xff{",
    "not a list": b"{}",
    "numbers": b"[1]",
    "too many": json.dumps(["x"] * 17).encode(),
    "too long": json.dumps(["x" * 300]).encode(),
}


@pytest.mark.parametrize("kind", [HERE, WHERE, DIAL_BACK])
@pytest.mark.parametrize("payload", NONSENSE.values(), ids=NONSENSE.keys())
async def test_nonsense_is_refused(kind: str, payload: bytes) -> None:
    one, other = make_libp2p(0), make_libp2p(1)
    async with running(one, other):
        with pytest.raises(RequestFailed, match="failed"):
            await one.network.request(other.address, kind, payload)
        assert other.address in one.network.connected()


async def test_an_address_with_anothers_key_is_not_taken_for_a_members_own() -> None:
    one, other = make_libp2p(0), make_libp2p(1)
    lie = json.dumps([f"/ip4/127.0.0.1/tcp/1/p2p/{peer_id(key_of(7))}"]).encode()
    async with running(one, other):
        with pytest.raises(RequestFailed):
            await one.network.request(other.address, HERE, lie)


async def asked(channel: object, kind: str, payload: object) -> object:
    await channel.send(encode_ask(kind, json.dumps(payload).encode()))  # type: ignore[attr-defined]
    answer, body = await receive(channel)  # type: ignore[arg-type]
    assert answer is FrameType.ANSWER
    return json.loads(body)
