"""Answers once for each state of the ledger: ETags made of the head and the question, and a few answers kept."""

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
_ONCE: Final = b"no-store"


class Cache:
    """Gives each request the snapshot that it is answered from (`scope["snapshot"]`), and the answer its ETag.

    The same question to the same snapshot has one answer, so that a reader who has it is told so, and others get a
    kept one. What says `no-store` has neither.
    """

    def __init__(self, app: ASGIApp, snapshot: Callable[[], Snapshot]) -> None:
        self._app = app
        self._snapshot = snapshot
        self._kept: OrderedDict[str, list[Message]] = OrderedDict()
        self._bytes = 0

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
        elif tag in self._kept:
            self._kept.move_to_end(tag)
            for message in self._kept[tag]:
                await send(message)
        else:
            recorder = _Recorder(send, tag)
            await self._app(scope, receive, recorder)
            self._keep(tag, recorder.messages)

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
    """Sends an answer on, with its ETag, and remembers it where it may be given again."""

    def __init__(self, send: Send, tag: str) -> None:
        self._send = send
        self._tag = tag
        self._is_kept = False
        self._is_whole = False
        self._messages: list[Message] = []

    @property
    def messages(self) -> list[Message]:
        """The whole answer; nothing where it may not be given again."""
        return self._messages if self._is_whole else []

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            said = Headers(raw=message["headers"])
            self._is_kept = message["status"] == 200 and "cache-control" not in said
            if self._is_kept:
                own = [(b"etag", self._tag.encode()), (b"cache-control", b"no-cache")]
                message = {**message, "headers": [*message["headers"], *own]}
        if self._is_kept:
            self._messages.append(message)
            self._is_whole = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)


def etag_of(snapshot: Snapshot, scope: Scope) -> str:
    """Make the ETag of a question to a snapshot."""
    question = scope["path"].encode() + b"?" + scope["query_string"]
    return f'"{hashlib.sha256(snapshot.tag.encode() + question).hexdigest()[:32]}"'


def matches(header: str) -> set[str]:
    """Read an If-None-Match header: the tags, weak ones too."""
    return {part.strip().removeprefix("W/") for part in header.split(",")}
