"""What every network does: the in-memory twin and the libp2p host, held to the same sentences."""

import pytest
import trio
from network_world import (
    HELLO,
    LARGE,
    SMALL,
    Libp2pWorld,
    MemoryWorld,
    Store,
    introduce,
    meshed,
    running,
    until,
)

from node.network.errors import BlobUnusable, PullFailed, RequestFailed
from node.network.port import MAX_REQUEST_BYTES, FaultKind, Hello, Traffic
from swarm.manifest import Manifest

ANY = 1 << 30


@pytest.fixture(params=[MemoryWorld, Libp2pWorld], ids=["memory", "libp2p"])
def world(request: pytest.FixtureRequest) -> MemoryWorld | Libp2pWorld:
    return request.param()


def content(store: Store, manifest: Manifest) -> bytes:
    return b"".join(store.read_chunk(manifest.blob, index) for index in range(len(manifest.chunks)))


@pytest.mark.parametrize("size", [4, SMALL, 1 << 16, (1 << 16) + 4, LARGE, LARGE + 4])
async def test_a_blob_arrives_as_it_was(world: Libp2pWorld, size: int) -> None:
    reader, owner = world.make(0), world.make(1)
    manifest = owner.store.give(size)
    async with running(reader, owner):
        assert await reader.network.pull(manifest.blob, [owner.address], max_bytes=size) == manifest
    assert reader.store.has(manifest.blob)
    assert content(reader.store, manifest) == content(owner.store, manifest)
    assert reader.faults == []


async def test_chunks_come_from_every_source(world: Libp2pWorld) -> None:
    sites = [world.make(number) for number in range(4)]
    for owner in sites[1:]:
        manifest = owner.store.give(4 * LARGE)
    async with running(*sites):
        await meshed(*sites)
        await sites[0].network.pull(manifest.blob, [one.address for one in sites], max_bytes=ANY)
    asked = [index for owner in sites[1:] for index in owner.store.asked]
    assert sorted(asked) == list(range(40))
    assert all(owner.store.asked for owner in sites[1:])


async def test_a_blob_that_is_here_needs_no_source(world: Libp2pWorld) -> None:
    site = world.make(0)
    manifest = site.store.give(SMALL)
    async with running(site):
        assert await site.network.pull(manifest.blob, [], max_bytes=SMALL) == manifest
        with pytest.raises(BlobUnusable):
            await site.network.pull(manifest.blob, [], max_bytes=SMALL - 1)


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_a_blob_over_the_limit_is_refused_before_it_is_fetched(world: Libp2pWorld, size: int) -> None:
    reader, owner = world.make(0), world.make(1)
    manifest = owner.store.give(size)
    async with running(reader, owner):
        with pytest.raises(BlobUnusable, match=f"{size} bytes, at most {size - 1} are allowed"):
            await reader.network.pull(manifest.blob, [owner.address], max_bytes=size - 1)
    assert reader.store.blobs() == []
    assert size == SMALL or owner.store.asked == []


async def test_what_nobody_has_fails_with_a_reason_for_each_source(world: Libp2pWorld) -> None:
    sites = [world.make(number) for number in range(3)]
    addresses = [site.address for site in sites[1:]]
    async with running(*sites):
        await meshed(*sites)
        with pytest.raises(PullFailed) as failure:
            await sites[0].network.pull(b"\1" * 32, addresses, max_bytes=ANY)
    assert [(fault.address, fault.kind) for fault in failure.value.faults] == [
        (address, FaultKind.MISSING) for address in addresses
    ]
    assert sites[0].faults == list(failure.value.faults)
    assert not isinstance(failure.value, BlobUnusable)


async def test_a_pull_without_sources_fails(world: Libp2pWorld) -> None:
    site = world.make(0)
    async with running(site):
        with pytest.raises(PullFailed, match="no sources"):
            await site.network.pull(b"\1" * 32, [site.address], max_bytes=ANY)


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_the_owner_decides_who_may_have_a_blob(world: Libp2pWorld, size: int) -> None:
    reader, owner = world.make(0), world.make(1)
    manifest = owner.store.give(size)
    owner.refuses.add(manifest.blob)
    async with running(reader, owner):
        await meshed(reader, owner)
        with pytest.raises(PullFailed) as failure:
            await reader.network.pull(manifest.blob, [owner.address], max_bytes=ANY)
        owner.refuses.clear()
        await reader.network.pull(manifest.blob, [owner.address], max_bytes=ANY)
    assert [fault.kind for fault in failure.value.faults] == [FaultKind.REFUSED]


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_wrong_bytes_are_dropped_with_their_sender_and_the_rest_comes_from_others(
    world: Libp2pWorld, size: int
) -> None:
    reader, liar, owner = (world.make(number) for number in range(3))
    for one in (liar, owner):
        manifest = one.store.give(size)
    liar.store.lies = True
    async with running(reader, liar, owner):
        await meshed(reader, liar, owner)
        await reader.network.pull(manifest.blob, [liar.address, owner.address], max_bytes=ANY)
    assert [(fault.address, fault.kind) for fault in reader.faults] == [(liar.address, FaultKind.CORRUPT)]
    owner.store.lies = False
    assert content(reader.store, manifest) == content(owner.store, manifest)


async def test_a_pull_goes_on_where_an_earlier_one_failed(world: Libp2pWorld) -> None:
    reader, first, second = (world.make(number) for number in range(3))
    manifest = first.store.give(LARGE)
    second.store.give(LARGE)
    read, left = first.store.read_chunk, 4

    def read_some(blob: bytes, index: int) -> bytes:
        nonlocal left
        left -= 1
        first.store.lies = left < 0
        return read(blob, index)

    first.store.read_chunk = read_some  # type: ignore[method-assign]
    async with running(reader, first, second):
        await meshed(reader, first, second)
        with pytest.raises(PullFailed):
            await reader.network.pull(manifest.blob, [first.address], max_bytes=ANY)
        assert not reader.store.has(manifest.blob)
        await reader.network.pull(manifest.blob, [second.address], max_bytes=ANY)
    assert reader.store.has(manifest.blob)
    assert len(second.store.asked) == 6


async def test_a_manifest_that_is_none_condemns_the_blob(world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib
    from types import SimpleNamespace

    reader, owner = world.make(0), world.make(1)
    garbage = b"this is no manifest"
    fake = SimpleNamespace(encode=lambda: garbage, size=0, chunks=())
    monkeypatch.setattr(owner.store, "manifest", lambda blob: fake)
    monkeypatch.setattr(owner.store, "has", lambda blob: True)
    async with running(reader, owner):
        await meshed(reader, owner)
        with pytest.raises(BlobUnusable, match="not a manifest"):
            await reader.network.pull(hashlib.sha256(garbage).digest(), [owner.address], max_bytes=ANY)
        with pytest.raises(PullFailed, match="the manifest isn't the one asked for"):
            await reader.network.pull(b"\2" * 32, [owner.address], max_bytes=ANY)


async def test_two_pulls_of_one_blob_fetch_it_once(world: Libp2pWorld) -> None:
    reader, owner = world.make(0), world.make(1)
    manifest = owner.store.give(LARGE)
    async with running(reader, owner), trio.open_nursery() as nursery:

        async def pull() -> None:
            await reader.network.pull(manifest.blob, [owner.address], max_bytes=ANY)

        await meshed(reader, owner)
        nursery.start_soon(pull)
        nursery.start_soon(pull)
    assert sorted(owner.store.asked) == list(range(10))


async def test_a_failing_store_of_ours_is_no_fault_of_a_peer(
    world: Libp2pWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, owner = world.make(0), world.make(1)
    manifest = owner.store.give(LARGE)

    def full(manifest: Manifest) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reader.store, "receive", full)
    async with running(reader, owner):
        await meshed(reader, owner)
        with pytest.raises(OSError, match="No space left"):
            await reader.network.pull(manifest.blob, [owner.address], max_bytes=ANY)
    assert reader.faults == []


async def test_a_stranger_is_not_connected_and_not_served(world: Libp2pWorld) -> None:
    member, stranger = world.make(0), world.make(1)
    manifest = member.store.give(SMALL)
    async with running(member, stranger):
        member.network.set_members({member.address: []})
        with pytest.raises(PullFailed) as failure:
            await stranger.network.pull(manifest.blob, [member.address], max_bytes=ANY)
        assert member.network.connected() == stranger.network.connected() == set()
    assert [fault.kind for fault in failure.value.faults] == [FaultKind.UNREACHABLE]
    assert member.store.asked == []


async def test_revoking_cuts_and_admitting_connects_again(world: Libp2pWorld) -> None:
    one, other = world.make(0), world.make(1)
    manifest = other.store.give(SMALL)
    async with running(one, other):
        await meshed(one, other)
        one.network.set_members({one.address: []})
        assert one.network.connected() == set()
        await until(lambda: other.network.connected() == set())
        with pytest.raises(PullFailed, match=r"isn't a member|not connected"):
            await one.network.pull(manifest.blob, [other.address], max_bytes=ANY)
        introduce([one, other])
        await meshed(one, other)
        await one.network.pull(manifest.blob, [other.address], max_bytes=ANY)


@pytest.mark.parametrize(
    "theirs", [Hello(1, HELLO.contract, "x"), Hello(HELLO.chain_id, "0x" + "cd" * 20, "x")], ids=["chain", "contract"]
)
async def test_another_ledger_is_refused_with_a_sentence_on_both_sides(world: Libp2pWorld, theirs: Hello) -> None:
    one, other = world.make(0), world.make(1, theirs)
    async with running(one, other):
        for site, peer in ((one, other), (other, one)):
            with pytest.raises(RequestFailed):
                await site.network.request(peer.address, "hi", b"")
        await until(lambda: "mismatch" in one.kinds() and "mismatch" in other.kinds())
        assert one.network.connected() == other.network.connected() == set()
    (fault, *_) = [fault for fault in one.faults if fault.kind is FaultKind.MISMATCH]
    assert str(theirs.chain_id) in fault.detail
    assert theirs.contract.lower() in fault.detail.lower()


async def test_the_spelling_of_the_contract_and_the_software_may_differ(world: Libp2pWorld) -> None:
    one, other = world.make(0), world.make(1, Hello(HELLO.chain_id, HELLO.contract.lower(), "another"))
    async with running(one, other):
        await meshed(one, other)
        assert {address: hello.software for address, hello in one.network.hellos().items()} == {
            other.address: "another"
        }
        assert other.network.hellos()[one.address].chain_id == HELLO.chain_id


async def test_a_control_message_is_answered_by_its_handler(world: Libp2pWorld) -> None:
    one, other = world.make(0), world.make(1)

    async def shout(address: str, payload: bytes) -> bytes:
        assert address == one.address
        return payload.upper()

    other.network.handle("shout", shout)
    async with running(one, other):
        assert await one.network.request(other.address, "shout", b"a" * MAX_REQUEST_BYTES) == b"A" * MAX_REQUEST_BYTES
        assert await one.network.request(other.address, "shout", b"") == b""


async def test_a_message_that_cannot_be_answered_fails_with_a_reason(world: Libp2pWorld) -> None:
    one, other = world.make(0), world.make(1)

    async def broken(address: str, payload: bytes) -> bytes:
        raise RuntimeError("private")

    other.network.handle("broken", broken)
    async with running(one, other):
        for kind, reason in (("broken", "handler"), ("unknown", "no handler")):
            with pytest.raises(RequestFailed, match=reason) as failure:
                await one.network.request(other.address, kind, b"")
            assert failure.value.fault.kind is FaultKind.REFUSED
            assert "private" not in str(failure.value)
        with pytest.raises(ValueError, match="at most 65536"):
            await one.network.request(other.address, "broken", bytes(MAX_REQUEST_BYTES + 1))
        with pytest.raises(RequestFailed):
            await one.network.request("0x" + "00" * 20, "broken", b"")
        await meshed(one, other)


async def test_traffic_is_counted_for_each_peer(world: Libp2pWorld) -> None:
    reader, owner = world.make(0), world.make(1)
    manifest = owner.store.give(LARGE)
    async with running(reader, owner):
        await reader.network.pull(manifest.blob, [owner.address], max_bytes=ANY)
        received, sent = reader.network.traffic()[owner.address], owner.network.traffic()[reader.address]
    assert isinstance(received, Traffic)
    assert LARGE < received.received < LARGE + 5_000
    assert LARGE < sent.sent < LARGE + 5_000


async def test_a_cancelled_pull_leaves_the_connection_whole(world: Libp2pWorld) -> None:
    reader, owner = world.make(0), world.make(1)
    manifests = [owner.store.give(LARGE, fill) for fill in range(5)]
    async with running(reader, owner):
        await meshed(reader, owner)
        for manifest in manifests:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda blob=manifest.blob: reader.network.pull(blob, [owner.address], max_bytes=ANY))
                await until(lambda: len(owner.store.asked) > 2)
                nursery.cancel_scope.cancel()
            owner.store.asked.clear()
        for manifest in manifests:
            await reader.network.pull(manifest.blob, [owner.address], max_bytes=ANY)
    assert reader.faults == owner.faults == []
