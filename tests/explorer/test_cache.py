"""One question to one state of the ledger is answered once."""

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.responses import PlainTextResponse, StreamingResponse
from story import Story

from ledger.api.cache import KEPT, Cache
from ledger.api.snapshot import Snapshot


class Asked:
    """An application that counts, and goes on when it is told to."""

    def __init__(self) -> None:
        self.times = 0
        self.may_go_on = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.times += 1
        if scope["path"] == "/stream":
            headers = {"cache-control": "no-store"}
            await StreamingResponse(self._parts(), headers=headers)(scope, receive, send)
            return
        await self.may_go_on.wait()
        if scope["path"] == "/fails" and self.times == 1:
            raise RuntimeError("the first one fails")
        await PlainTextResponse(f"answer {self.times}")(scope, receive, send)

    async def _parts(self) -> Any:
        yield "first"
        await self.may_go_on.wait()


async def ask(cache: Cache, path: str) -> bytes:
    said = []

    async def send(message: Any) -> None:
        said.append(message.get("body", b""))

    async def receive() -> Any:
        await asyncio.Event().wait()

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
    await cache(scope, receive, send)
    return b"".join(said)


def run(scenario: Callable[[Cache, Asked], Any]) -> None:
    async def begin() -> None:
        snapshot, asked = Snapshot(Story().deployment), Asked()
        async with asyncio.timeout(60):
            await scenario(Cache(asked, lambda: snapshot), asked)

    asyncio.run(begin())


def test_many_who_ask_the_same_at_once_get_one_answer() -> None:
    async def scenario(cache: Cache, asked: Asked) -> None:
        waiting = [asyncio.create_task(ask(cache, "/page")) for _ in range(20)]
        await asyncio.sleep(0)
        asked.may_go_on.set()
        assert set(await asyncio.gather(*waiting)) == {b"answer 1"}
        assert asked.times == 1

    run(scenario)


def test_where_the_first_one_fails_the_next_asks_again() -> None:
    async def scenario(cache: Cache, asked: Asked) -> None:
        waiting = [asyncio.create_task(ask(cache, "/fails")) for _ in range(3)]
        await asyncio.sleep(0)
        asked.may_go_on.set()
        first, *others = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(first, RuntimeError)
        assert others == [b"answer 2"] * 2

    run(scenario)


def test_nobody_waits_for_a_reader_who_takes_nothing() -> None:
    async def scenario(cache: Cache, asked: Asked) -> None:
        asked.may_go_on.set()

        async def stuck(_: Any) -> None:
            await asyncio.Event().wait()

        scope = {"type": "http", "method": "GET", "path": "/page", "query_string": b"", "headers": []}
        slow = asyncio.create_task(cache(scope, stuck, stuck))
        await asyncio.sleep(0)
        assert await ask(cache, "/page") == b"answer 1"
        slow.cancel()

    run(scenario)


def test_nobody_waits_for_the_end_of_a_stream() -> None:
    async def scenario(cache: Cache, asked: Asked) -> None:
        first = asyncio.create_task(ask(cache, "/stream"))
        second = asyncio.create_task(ask(cache, "/stream"))
        while asked.times < 2:
            await asyncio.sleep(0)
        asked.may_go_on.set()
        assert await asyncio.gather(first, second) == [b"first"] * 2

    run(scenario)


def test_what_is_kept_is_bounded() -> None:
    async def scenario(cache: Cache, asked: Asked) -> None:
        asked.may_go_on.set()
        for number in range(2 * KEPT):
            await ask(cache, f"/{number}")
        assert len(cache._kept) == KEPT

    run(scenario)
