"""The asking side of a channel, where several things happen at one instant."""

from collections.abc import Callable

import pytest
import trio
import trio.testing

from node.network.channel import ChannelClosed
from node.network.client import Client
from node.network.frames import FrameType
from node.network.pull import SourceFailed


class Scripted:
    """A channel whose second request fails at the very instant at which the first one's answer is whole."""

    def __init__(self) -> None:
        self.sent = 0
        self.answered = trio.Event()
        self.was_aborted = False
        self.was_cut = False

    async def send(self, *parts: bytes) -> None:
        self.sent += 1
        if self.sent == 2:
            self.answered.set()
            raise ChannelClosed("the stream has ended")

    async def receive(self, limit: Callable[[], int], progress: Callable[[], None]) -> tuple[FrameType, memoryview]:
        assert limit()
        await self.answered.wait()
        return FrameType.DATA, memoryview(b"1")

    async def abort(self) -> None:
        self.was_aborted = True

    def cut(self) -> None:
        self.was_cut = True


async def test_an_answer_to_a_request_that_was_just_given_up_ends_the_stream_and_not_the_connection() -> None:
    channel = Scripted()
    client = Client(channel, 30)  # type: ignore[arg-type]

    async def ask() -> None:
        with pytest.raises(SourceFailed):
            await client.chunk(bytes(32), 0, 1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(client.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask)
    assert (channel.was_aborted, channel.was_cut) == (True, False)
