"""Members that break the protocol: each costs a note and its own channel, and nothing else."""

import struct
from collections.abc import Callable
from dataclasses import replace

import pytest
import trio
from network_attackers import (
    NUMBER,
    address,
    attacker,
    dial,
    greeted,
    ignore,
    impostor,
    receive,
    swarm_of,
)
from network_world import HELLO, LARGE, QUICK, SMALL, Site, introduce, make_libp2p, running, until

from node.network.channel import ChannelClosed, open_channel
from node.network.errors import PullFailed, RequestFailed
from node.network.frames import (
    HEADER,
    FrameType,
    decode_hello,
    encode_ask,
    encode_chunk,
    encode_describe,
    encode_described,
    encode_hello,
    frame,
)
from node.network.gate import MAX_CONNECTIONS_PER_MEMBER
from node.network.inbound import MAX_STREAMS_PER_PEER
from node.network.port import FaultKind, Hello
from node.network.server import BLOB_PROTOCOL, CONTROL_PROTOCOL
from swarm.manifest import MAX_MANIFEST_BYTES

ANY = 1 << 30
IMPATIENT = replace(QUICK, stall=0.5)


async def still_serves(victim: Site) -> None:
    """A member in good standing gets what it asks for."""
    reader = make_libp2p(7)
    manifest = victim.store.give(SMALL, fill=99)
    async with trio.open_nursery() as nursery:
        await nursery.start(reader.network.run)
        introduce([victim, reader])
        await reader.network.pull(manifest.blob, [victim.address], max_bytes=ANY)
        nursery.cancel_scope.cancel()


GARBAGE = {
    "noise": b"\xff" * 4096,
    "unknown type": HEADER.pack(4, 99) + b"abcd",
    "too large": HEADER.pack(1 << 31, FrameType.CHUNK),
    "short describe": frame(FrameType.DESCRIBE, b"short"),
    "long describe": frame(FrameType.DESCRIBE, b"x" * 33),
    "short chunk request": frame(FrameType.CHUNK, b"x" * 35),
    "an answer": frame(FrameType.DATA, b"x"),
    "a second hello": encode_hello(HELLO),
    "a control message": encode_ask("hi", b""),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
async def test_a_malformed_request_is_noted_and_ends_the_channel(garbage: bytes) -> None:
    victim = make_libp2p(0)
    async with running(victim), attacker(victim) as connection:
        channel = await greeted(connection)
        await channel.send(garbage)
        with pytest.raises(ChannelClosed):
            await receive(channel)
        await until(lambda: "malformed" in victim.kinds())
        assert not connection.muxed_conn.is_closed
        await still_serves(victim)
    assert {fault.address for fault in victim.faults if fault.kind is FaultKind.MALFORMED} == {address()}


CONTROL_GARBAGE = {
    "empty": frame(FrameType.ASK),
    "lengths": frame(FrameType.ASK, b"\x09abc"),
    "not text": frame(FrameType.ASK, b"\x02\xff\xfe"),
    "too large": HEADER.pack(1 << 20, FrameType.ASK),
    "a blob request": encode_describe(b"x" * 32),
}


@pytest.mark.parametrize("garbage", CONTROL_GARBAGE.values(), ids=CONTROL_GARBAGE.keys())
async def test_a_malformed_control_message_is_noted_and_ends_the_channel(garbage: bytes) -> None:
    victim = make_libp2p(0)
    async with running(victim), attacker(victim) as connection:
        channel = await greeted(connection, CONTROL_PROTOCOL)
        await channel.send(garbage)
        with pytest.raises(ChannelClosed):
            await receive(channel)
        await until(lambda: "malformed" in victim.kinds())
        await still_serves(victim)


async def test_an_unknown_protocol_is_not_spoken() -> None:
    victim = make_libp2p(0)
    async with running(victim), attacker(victim) as connection:
        for protocol in ("/swarm/blob/1", "/libp2p/circuit/relay/0.2.0/hop", "/ipfs/id/1.0.0", "/ipfs/ping/1.0.0"):
            with pytest.raises(ChannelClosed, match="doesn't speak"):
                await open_channel(connection, protocol, ignore)
        await still_serves(victim)


async def test_requests_before_the_hello_are_not_answered() -> None:
    victim = make_libp2p(0)
    manifest = victim.store.give(SMALL)
    async with running(victim), attacker(victim) as connection:
        channel = await open_channel(connection, BLOB_PROTOCOL, ignore)
        await channel.send(encode_describe(manifest.blob))
        with pytest.raises(ChannelClosed):
            await receive(channel)
        await until(lambda: "malformed" in victim.kinds())
    assert victim.store.asked == []


async def test_a_hello_that_does_not_fit_is_answered_with_ours_and_the_end() -> None:
    victim = make_libp2p(0)
    async with running(victim), attacker(victim) as connection:
        channel = await open_channel(connection, BLOB_PROTOCOL, ignore)
        await channel.send(encode_hello(Hello(1, HELLO.contract, "x")))
        kind, body = await receive(channel)
        assert kind is FrameType.HELLO
        assert decode_hello(body).chain_id == HELLO.chain_id
        with pytest.raises(ChannelClosed):
            await receive(channel)
        await until(lambda: "mismatch" in victim.kinds())
        assert "it follows contract" in victim.faults[-1].detail


async def test_silence_instead_of_a_hello_is_noted() -> None:
    victim = make_libp2p(0, tuning=IMPATIENT)
    async with running(victim), attacker(victim) as connection:
        await open_channel(connection, BLOB_PROTOCOL, ignore)
        await until(lambda: "stalled" in victim.kinds())
        await still_serves(victim)


async def test_a_frame_cut_off_by_the_end_of_the_channel_is_no_fault() -> None:
    victim = make_libp2p(0)
    async with running(victim), attacker(victim) as connection:
        channel = await greeted(connection)
        await channel.send(encode_chunk(b"x" * 32, 1)[:20])
        await channel.abort()
        await still_serves(victim)
    assert "malformed" not in victim.kinds()


async def test_who_asks_and_does_not_read_is_cut_off() -> None:
    victim = make_libp2p(0, tuning=IMPATIENT)
    manifest = victim.store.give(LARGE)
    async with running(victim), attacker(victim) as connection:
        channel = await greeted(connection)
        for index in range(10):
            await channel.send(encode_chunk(manifest.blob, index))
        await until(lambda: "stalled" in victim.kinds())
        await until(lambda: connection.muxed_conn.is_closed)
        await still_serves(victim)
    assert len(victim.store.asked) < 5  # as many chunks as fit into the window that it left open


async def test_a_member_has_a_bounded_number_of_streams() -> None:
    victim = make_libp2p(0)
    async with running(victim), attacker(victim) as connection:
        for _ in range(MAX_STREAMS_PER_PEER):
            await greeted(connection)
        with pytest.raises(ChannelClosed):
            await greeted(connection)
        await still_serves(victim)


async def test_a_member_has_a_bounded_number_of_connections_of_which_the_newest_count() -> None:
    victim = make_libp2p(0)
    async with running(victim), swarm_of() as (swarm, gate):
        gate.set_members([victim.address])
        victim.network.set_members({address(): []})
        connections = [await dial(swarm, victim) for _ in range(MAX_CONNECTIONS_PER_MEMBER + 2)]
        await until(lambda: len(victim.network._swarm.get_connections()) == MAX_CONNECTIONS_PER_MEMBER)
        await greeted(connections[-1])
        await still_serves(victim)


BAD_HELLOS = {
    "too short": frame(FrameType.HELLO, b"x"),
    "not text": frame(FrameType.HELLO, bytes(33) + b"\x01\xff"),
    "control characters": frame(FrameType.HELLO, bytes(33) + b"\x04\x1b[2J"),
    "another type": frame(FrameType.DATA, b"x"),
}


@pytest.mark.parametrize("hello", BAD_HELLOS.values(), ids=BAD_HELLOS.keys())
async def test_a_malformed_hello_is_noted_on_either_side(hello: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = make_libp2p(0)
    async with running(victim):
        async with attacker(victim) as connection:
            channel = await open_channel(connection, BLOB_PROTOCOL, ignore)
            await channel.send(hello)
            await until(lambda: "malformed" in victim.kinds())
        victim.faults.clear()
        monkeypatch.setattr("network_attackers.encode_hello", lambda mine: hello)
        async with impostor(victim, lambda kind, body: None):
            await until(lambda: "malformed" in victim.kinds())
        await still_serves(victim)


async def test_the_same_fault_again_and_again_is_noted_once() -> None:
    victim = make_libp2p(0)
    async with running(victim), attacker(victim) as connection:
        for _ in range(5):
            channel = await greeted(connection)
            await channel.send(b"\xff" * 100)
            with pytest.raises(ChannelClosed):
                await receive(channel)
        await still_serves(victim)
    assert victim.kinds().count("malformed") == 1


DESCRIPTIONS = {
    "another type": ([frame(FrameType.DATA, b"x" * 40)], FaultKind.MALFORMED),
    "a request": ([encode_describe(b"x" * 32)], FaultKind.MALFORMED),
    "lengths that don't add up": (
        [frame(FrameType.DESCRIBED, struct.pack("!?I", False, 99), b"x")],
        FaultKind.MALFORMED,
    ),
    "an oversized manifest": ([HEADER.pack(MAX_MANIFEST_BYTES * 2, FrameType.DESCRIBED)], FaultKind.MALFORMED),
    "an unknown refusal": ([frame(FrameType.REFUSED, b"\x77no")], FaultKind.MALFORMED),
    "a wrong manifest": ([encode_described(b"{}", None)], FaultKind.CORRUPT),
    "silence": (None, FaultKind.STALLED),
    "half a frame, then silence": ([HEADER.pack(1000, FrameType.DESCRIBED), b"x" * 100], FaultKind.STALLED),
}


@pytest.mark.parametrize(("parts", "kind"), DESCRIPTIONS.values(), ids=DESCRIPTIONS.keys())
async def test_a_bad_description_drops_its_source(parts: list[bytes] | None, kind: FaultKind) -> None:
    victim, honest = make_libp2p(0, tuning=IMPATIENT), make_libp2p(1)
    manifest = honest.store.give(LARGE)
    async with running(victim, honest), impostor(victim, lambda kind, body: parts) as liar:
        with pytest.raises(PullFailed) as failure:
            await victim.network.pull(manifest.blob, [liar], max_bytes=ANY)
        assert [(fault.address, fault.kind) for fault in failure.value.faults] == [(liar, kind)]
        assert failure.value.faults[0] in victim.faults
        introduce([victim, honest])
        await victim.network.pull(manifest.blob, [honest.address], max_bytes=ANY)


BAD_CHUNKS = {
    "too short": (lambda data: [frame(FrameType.DATA, data[:-1])], {FaultKind.MALFORMED}),
    "too long": (lambda data: [frame(FrameType.DATA, data + b"x")], {FaultKind.MALFORMED}),
    "wrong bytes": (lambda data: [frame(FrameType.DATA, bytes(len(data)))], {FaultKind.CORRUPT}),
    "half, then silence": (lambda data: [HEADER.pack(len(data), FrameType.DATA), data[:50_000]], {FaultKind.STALLED}),
    "one answer for all": (lambda data: [frame(FrameType.DATA, data)] * 20, {FaultKind.CORRUPT, FaultKind.MALFORMED}),
}


@pytest.mark.parametrize(("answer", "kinds"), BAD_CHUNKS.values(), ids=BAD_CHUNKS.keys())
async def test_a_bad_chunk_drops_its_source(answer: Callable[[bytes], list[bytes]], kinds: set[FaultKind]) -> None:
    victim, honest = make_libp2p(0, tuning=IMPATIENT), make_libp2p(1)
    manifest = honest.store.give(LARGE)
    asked: list[int] = []

    def lie(kind: FrameType, body: bytes) -> list[bytes] | None:
        if kind is FrameType.DESCRIBE:
            return [encode_described(manifest.encode(), None)]
        asked.append(int.from_bytes(body[32:]))
        return answer(honest.store.read_chunk(manifest.blob, asked[0])) if len(asked) == 1 else None

    async with running(victim, honest), impostor(victim, lie) as liar:
        with pytest.raises(PullFailed) as failure:
            await victim.network.pull(manifest.blob, [liar], max_bytes=ANY)
        assert {fault.kind for fault in failure.value.faults} <= kinds
        introduce([victim, honest])
        await victim.network.pull(manifest.blob, [honest.address], max_bytes=ANY)
    assert victim.store.has(manifest.blob)


async def test_an_answer_that_only_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.network.client.PATIENCE_FACTOR", 2)
    victim = make_libp2p(0, tuning=IMPATIENT)
    async with running(victim), swarm_of(listen=True):
        sent = trio.Event()

        def trickle(kind: FrameType, body: bytes) -> list[bytes]:
            sent.set()
            return [HEADER.pack(60_000, FrameType.ANSWER), *([b"x"] * 50_000)]

        async with impostor(victim, trickle) as slow:
            with pytest.raises(RequestFailed, match="trickles"):
                await victim.network.request(slow, "hi", b"")
        assert sent.is_set()


async def test_a_published_address_with_another_key_is_not_dialled() -> None:
    victim, other = make_libp2p(0), make_libp2p(1)
    async with running(victim, other):
        victim.network.set_members({address(NUMBER): other.network.addresses()})
        with pytest.raises(RequestFailed, match="published no address"):
            await victim.network.request(address(NUMBER), "hi", b"")
    assert (FaultKind.MALFORMED, True) in [(fault.kind, other.address in fault.detail) for fault in victim.faults]


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "/ip4/127.0.0.1/tcp/1", "/ip4/1.2.3.4/udp/5/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"],
)
async def test_a_published_address_that_is_none_is_noted(text: str) -> None:
    victim = make_libp2p(0)
    async with running(victim):
        victim.network.set_members({address(NUMBER): [text]})
    assert victim.kinds()[0] == "malformed"
