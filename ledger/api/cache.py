"""Answers once for each state of the ledger: ETags made of the head and the question, and a few answers kept."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ledger.api.snapshot import Snapshot

KEPT: Final = 128
KEPT_BYTES: Final = 32 << 20


class Cache:
    """Gives each request the snapshot that it is answered from (`scope["snapshot"]`), and the answer its ETag.

    The same question to the same snapshot has one answer, so that a reader who has it is told so, and others get a
    kept one. Who asks while the same is being answered waits for it. What says `no-store` has none of this.
    """

    def __init__(self, app: ASGIApp, snapshot: Callable[[], Snapshot]) -> None:
        self._app = app
        self._snapshot = snapshot
        self._kept: OrderedDict[str, list[Message]] = OrderedDict()
        self._bytes = 0
        self._in_work: dict[str, asyncio.Event] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from what is kept, or have it answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        snapshot = self._snapshot()
        scope["snapshot"] = snapshot
        tag = etag_of(snapshot, scope)
        if tag in matches(Headers(scope=scope).get("if-none-match", "")):
            await Response(status_code=304, headers={"etag": tag, "cache-control": "no-cache"})(scope, receive, send)
            return
        while tag not in self._kept and tag in self._in_work:
            await self._in_work[tag].wait()
        if tag in self._kept:
            self._kept.move_to_end(tag)
            for message in self._kept[tag]:
                await send(message)
        else:
            await self._make(tag, scope, receive, send)

    async def _make(self, tag: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Have it answered; who waits for the same goes on once it is whole, or known to be for one reader alone."""
        done = self._in_work[tag] = asyncio.Event()

        def let_go(messages: list[Message]) -> None:
            self._keep(tag, messages)
            done.set()
            if self._in_work.get(tag) is done:
                del self._in_work[tag]

        try:
            await self._app(scope, receive, _Recorder(send, tag, let_go))
        finally:
            let_go([])

    def _keep(self, tag: str, messages: list[Message]) -> None:
        size = sum(len(message.get("body", b"")) for message in messages)
        if not messages or size > KEPT_BYTES // 8 or tag in self._kept:
            return
        self._kept[tag] = messages
        self._bytes += size
        while len(self._kept) > KEPT or self._bytes > KEPT_BYTES:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= sum(len(message.get("body", b"")) for message in dropped)


class _Recorder:
    """Gives an answer its ETag where it may be kept, and lets others have it before a reader who may be slow."""

    def __init__(self, send: Send, tag: str, done: Callable[[list[Message]], None]) -> None:
        self._send = send
        self._tag = tag
        self._done = done
        self._messages: list[Message] = []

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if message["status"] == 200 and "cache-control" not in Headers(raw=message["headers"]):
                own = [(b"etag", self._tag.encode()), (b"cache-control", b"no-cache")]
                self._messages.append({**message, "headers": [*message["headers"], *own]})
                return
            self._done([])
        if not self._messages:
            await self._send(message)
            return
        self._messages.append(message)
        if not message.get("more_body", False):
            self._done(self._messages)
            for one in self._messages:
                await self._send(one)


def etag_of(snapshot: Snapshot, scope: Scope) -> str:
    """Make the ETag of a question to a snapshot."""
    question = scope["path"].encode() + b"?" + scope["query_string"]
    return f'"{hashlib.sha256(snapshot.tag.encode() + question).hexdigest()[:32]}"'


def matches(header: str) -> set[str]:
    """Read an If-None-Match header: the tags, weak ones too."""
    return {part.strip().removeprefix("W/") for part in header.split(",")}
