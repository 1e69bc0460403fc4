"""The asking side of a channel: requests under way together, answers in their order, and a watch on stalls."""

import logging
from collections import deque
from dataclasses import dataclass, field

import trio

from node.network.channel import Channel, ChannelClosed
from node.network.frames import (
    DESCRIBED_BYTES,
    HELLO_BYTES,
    REFUSED_BYTES,
    FrameType,
    MalformedFrame,
    decode_described,
    decode_hello,
    decode_refused,
    encode_ask,
    encode_chunk,
    encode_describe,
    encode_hello,
)
from node.network.port import MAX_REQUEST_BYTES, FaultKind, Hello
from node.network.pull import Description, SourceFailed

logger = logging.getLogger(__name__)

PATIENCE_FACTOR = 12  # an answer may take this many times the stall time in all, however steadily it trickles


@dataclass(slots=True, eq=False)
class _Question:
    """A request under way."""

    answer_type: FrameType
    limit: int
    done: trio.Event = field(default_factory=trio.Event)
    answer: memoryview | None = None
    failure: SourceFailed | None = None

    def settle(self, answer: memoryview | None, failure: SourceFailed | None) -> None:
        self.answer, self.failure = answer, failure
        self.done.set()


class Client:
    """Asks a peer over a channel of ours. Every call raises SourceFailed."""

    def __init__(self, channel: Channel, stall_seconds: float) -> None:
        self.failure: SourceFailed | None = None
        self.ended = trio.Event()
        self._channel = channel
        self._stall_seconds = stall_seconds
        self._waiting: deque[_Question] = deque()
        self._sending = trio.Lock()
        self._watch = trio.CancelScope()
        self._begun = 0.0

    async def run(self) -> None:
        """Receive answers until the channel ends or fails; `failure` then says how, and every request fails with it."""
        try:
            with self._watch:
                await self._receive()
            if self.failure is None:
                detail = f"no byte for {self._stall_seconds:g} s, or an answer that only trickles"
                self._end(SourceFailed(FaultKind.STALLED, detail))
                self._channel.cut()  # a frozen peer would not take a reset
            else:
                await self._channel.abort()
        except ChannelClosed as closed:
            self._end(_lost(str(closed)))
        except MalformedFrame as malformed:
            self._end(SourceFailed(FaultKind.MALFORMED, str(malformed)))
            await self._channel.abort()
        except Exception:  # one peer, whatever it does to the library, must not end the connections to the others
            logger.exception("a channel failed")
            self._channel.cut()
        finally:
            self._end(_lost("disconnected"))
            self.ended.set()

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return not self._waiting

    def retire(self) -> None:
        """End the channel from this side."""
        self._end(_lost("moved to a better connection"))
        self._watch.cancel()

    async def hello(self, mine: Hello) -> Hello:
        """Say hello; gives the other side's."""
        answer = await self._ask(encode_hello(mine), FrameType.HELLO, HELLO_BYTES)
        try:
            return decode_hello(answer)
        except MalformedFrame as malformed:
            raise SourceFailed(FaultKind.MALFORMED, str(malformed)) from None

    async def describe(self, blob: bytes) -> Description:
        """A blob's manifest, with the vector where that is small."""
        answer = await self._ask(encode_describe(blob), FrameType.DESCRIBED, DESCRIBED_BYTES)
        try:
            return Description(*decode_described(answer))
        except MalformedFrame as malformed:
            raise SourceFailed(FaultKind.MALFORMED, str(malformed)) from None

    async def chunk(self, blob: bytes, index: int, size: int) -> memoryview:
        """One chunk."""
        answer = await self._ask(encode_chunk(blob, index), FrameType.DATA, size)
        if len(answer) != size:
            raise SourceFailed(FaultKind.MALFORMED, f"chunk {index}: {len(answer)} bytes where {size} are needed")
        return answer

    async def request(self, kind: str, payload: bytes) -> bytes:
        """The answer to a control message."""
        return bytes(await self._ask(encode_ask(kind, payload), FrameType.ANSWER, MAX_REQUEST_BYTES))

    async def _ask(self, frame: bytes, answer_type: FrameType, limit: int) -> memoryview:
        question = _Question(answer_type, max(limit, REFUSED_BYTES))
        async with self._sending:
            if self.failure is not None:
                raise self.failure.again()
            self._waiting.append(question)
            if len(self._waiting) == 1:
                self._begin()
            await self._send(frame)
        await question.done.wait()
        if question.answer is None:
            raise (question.failure or _lost("disconnected")).again()
        return question.answer

    async def _send(self, frame: bytes) -> None:
        sent = False
        try:
            await self._channel.send(frame)
            sent = True
        except ChannelClosed as closed:
            raise _lost(str(closed)) from None
        finally:
            if not sent:  # half a request may be on its way, and no later answer could be told apart
                self._end(_lost("a request was given up"))
                self._watch.cancel()

    async def _receive(self) -> None:
        while True:
            kind, body = await self._channel.receive(self._limit, self._progress)
            if self.failure is not None:  # given up while the last bytes came
                return
            question = self._waiting[0]
            if kind is question.answer_type:
                question.settle(body, None)
            elif kind is FrameType.REFUSED:
                refused = decode_refused(body)
                question.settle(None, SourceFailed(refused.kind, refused.sentence))
            else:
                raise MalformedFrame(f"{kind.name} instead of {question.answer_type.name}")
            self._waiting.popleft()
            if self._waiting:
                self._begin()
            else:
                self._watch.deadline = float("inf")

    def _limit(self) -> int:
        if not self._waiting:
            raise MalformedFrame("an answer to no question")
        return self._waiting[0].limit

    def _begin(self) -> None:
        self._begun = trio.current_time()
        self._watch.deadline = self._begun + self._stall_seconds

    def _progress(self) -> None:
        if self._waiting:
            longest = self._begun + PATIENCE_FACTOR * self._stall_seconds
            self._watch.deadline = min(trio.current_time() + self._stall_seconds, longest)

    def _end(self, failure: SourceFailed) -> None:
        if self.failure is None:
            self.failure = failure
        while self._waiting:
            self._waiting.popleft().settle(None, self.failure)


def _lost(how: str) -> SourceFailed:
    return SourceFailed(FaultKind.UNREACHABLE, f"the connection was lost: {how}", lost=True)
