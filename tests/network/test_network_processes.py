"""Real processes that are killed, frozen and restarted while bytes travel."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from network_world import QUICK, Site, make_libp2p, until
from trio.testing import wait_all_tasks_blocked

from swarm.blobs import Receiver
from swarm.manifest import Manifest

pytestmark = pytest.mark.slow

ANY = 1 << 32
SIZE = 32 << 20
SCRIPT = Path(__file__).with_name("network_process.py")


class Remote:
    """A site in another process."""

    def __init__(self, number: int, folder: Path, size: int) -> None:
        root = Path(__file__).resolve().parents[2]
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(number), str(folder / str(number)), str(size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{SCRIPT.parent}"},
        )
        self.address = ""
        self.addresses: list[str] = []
        self.blob = b""

    async def ready(self) -> None:
        self.address, self.addresses, blob = json.loads(await self.heard())
        self.blob = bytes.fromhex(blob)

    async def heard(self) -> str:
        line = await trio.to_thread.run_sync(self.process.stdout.readline)
        assert line, "the process has ended"
        return str(line)

    def tell(self, what: object) -> None:
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()


class Remotes:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.all: list[Remote] = []

    def start(self, *sizes: int) -> list[Remote]:
        started = [Remote(10 + len(self.all) + i, self.folder, size) for i, size in enumerate(sizes)]
        self.all += started
        return started


@pytest.fixture
def remotes(tmp_path: Path) -> Iterator[Remotes]:
    remotes = Remotes(tmp_path)
    yield remotes
    for remote in remotes.all:
        remote.process.kill()
        remote.process.communicate()


async def acquainted(site: Site, *remotes: Remote) -> None:
    """Everybody a member to everybody, and the site connected to all."""
    for remote in remotes:
        await remote.ready()
    members = {remote.address: remote.addresses for remote in remotes}
    for remote in remotes:
        remote.tell({**members, site.address: site.network.addresses()})
    site.network.set_members(members)
    await until(lambda: site.network.connected() == set(members))


def after_chunks(site: Site, count: int, monkeypatch: pytest.MonkeyPatch) -> trio.Event:
    """An event that is set when the site's store has received so many chunks."""
    event, token, receive = trio.Event(), trio.lowlevel.current_trio_token(), site.store.receive
    left = count

    def counting(manifest: Manifest) -> Receiver:
        receiver = receive(manifest)
        write = receiver.write

        def write_and_count(index: int, data: bytes) -> None:
            nonlocal left
            write(index, data)
            left -= 1
            if left == 0:
                token.run_sync_soon(event.set)

        receiver.write = write_and_count  # type: ignore[method-assign]
        return receiver

    monkeypatch.setattr(site.store, "receive", counting)
    return event


async def test_a_killed_source_is_replaced_by_another(remotes: Remotes, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_libp2p(0)
    first, second = remotes.start(SIZE, SIZE)
    async with trio.open_nursery() as nursery:
        await nursery.start(site.network.run)
        await acquainted(site, first, second)
        event = after_chunks(site, 5, monkeypatch)

        async def kill() -> None:
            await event.wait()
            first.process.kill()

        nursery.start_soon(kill)
        await site.network.pull(first.blob, [first.address, second.address], max_bytes=ANY)
        assert site.store.has(first.blob)
        await until(lambda: site.network.connected() == {second.address})
        nursery.cancel_scope.cancel()


async def test_a_pull_goes_on_from_disk_after_its_only_source_was_killed(
    remotes: Remotes, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_libp2p(0)
    first, second = remotes.start(SIZE, SIZE)
    async with trio.open_nursery() as nursery:
        await nursery.start(site.network.run)
        await acquainted(site, first, second)
        event = after_chunks(site, 8, monkeypatch)
        async with trio.open_nursery() as inner:
            failed = trio.Event()

            async def pull() -> None:
                with pytest.raises(Exception, match="unreachable"):
                    await site.network.pull(first.blob, [first.address], max_bytes=ANY)
                failed.set()

            inner.start_soon(pull)
            await event.wait()
            first.process.kill()
            await failed.wait()
        before = site.network.traffic()[second.address].received
        await site.network.pull(first.blob, [second.address], max_bytes=ANY)
        assert site.network.traffic()[second.address].received - before <= SIZE - (8 << 20) + (1 << 16)
        nursery.cancel_scope.cancel()


async def test_a_frozen_source_is_dropped(remotes: Remotes, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_libp2p(0, tuning=replace(QUICK, stall=2.0, ping=0.2, dead=2.0))
    frozen, honest = remotes.start(SIZE, SIZE)
    async with trio.open_nursery() as nursery:
        await nursery.start(site.network.run)
        await acquainted(site, frozen, honest)
        event = after_chunks(site, 2, monkeypatch)

        async def freeze() -> None:
            await event.wait()
            frozen.process.send_signal(signal.SIGSTOP)

        nursery.start_soon(freeze)
        await site.network.pull(frozen.blob, [frozen.address, honest.address], max_bytes=ANY)
        assert site.store.has(frozen.blob)
        await until(lambda: site.network.connected() == {honest.address})
        nursery.cancel_scope.cancel()


async def test_a_pull_from_a_frozen_source_alone_ends(remotes: Remotes) -> None:
    site = make_libp2p(0, tuning=replace(QUICK, stall=2.0))
    (frozen,) = remotes.start(SIZE)
    async with trio.open_nursery() as nursery:
        await nursery.start(site.network.run)
        await acquainted(site, frozen)
        await site.network.pull(frozen.blob, [frozen.address], max_bytes=ANY)  # the blob channel is open
        frozen.process.send_signal(signal.SIGSTOP)
        with pytest.raises(Exception, match=r"stalled: no byte for 2 s"):
            await site.network.pull(b"\1" * 32, [frozen.address], max_bytes=ANY)
        nursery.cancel_scope.cancel()


async def test_a_frozen_member_is_noticed_without_asking_it_and_is_back_when_it_thaws(remotes: Remotes) -> None:
    site = make_libp2p(0, tuning=replace(QUICK, ping=0.1, dead=0.5))
    (frozen,) = remotes.start(0)
    async with trio.open_nursery() as nursery:
        await nursery.start(site.network.run)
        await acquainted(site, frozen)
        frozen.process.send_signal(signal.SIGSTOP)
        await until(lambda: site.network.connected() == set())
        frozen.process.send_signal(signal.SIGCONT)
        await until(lambda: site.network.connected() == {frozen.address})
        nursery.cancel_scope.cancel()


async def test_a_frozen_member_holds_up_neither_its_removal_nor_the_end(remotes: Remotes) -> None:
    site = make_libp2p(0)
    (frozen,) = remotes.start(0)
    async with trio.open_nursery() as nursery:
        await nursery.start(site.network.run)
        await acquainted(site, frozen)
        frozen.process.send_signal(signal.SIGSTOP)
        async with trio.open_nursery() as writers:
            for _ in range(200):  # fill what the two kernels buffer
                writers.start_soon(send_something, site, frozen)
            await wait_all_tasks_blocked(0.1)
            site.network.set_members({})
            assert site.network.connected() == set()
        nursery.cancel_scope.cancel()


async def send_something(site: Site, to: Remote) -> None:
    with pytest.raises(Exception, match="unreachable"):
        await site.network.request(to.address, "hi", bytes(1 << 16))


async def test_memory_does_not_grow_with_the_blob(remotes: Remotes) -> None:
    site = make_libp2p(0)
    size = 128 << 20
    source, reader = remotes.start(size, 0)
    async with trio.open_nursery() as nursery:
        await nursery.start(site.network.run)
        await acquainted(site, source, reader)
        reader.tell({"pull": source.blob.hex(), "from": [source.address]})
        _, grown = json.loads(await reader.heard())
        nursery.cancel_scope.cancel()
    assert grown < 48 << 20
