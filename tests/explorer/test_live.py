"""Live updates: who listens hears of what is new, and costs little."""

import asyncio
import json
from collections.abc import Iterator

import pytest
from httpx import Response
from serving import Explorer, served
from story import Story

from ledger.api.live import MOST_FOR_ONE, MOST_READERS, Live, TooMany
from ledger.api.snapshot import Snapshot


def told(lines: Iterator[str]) -> dict:
    """Read one event."""
    for line in lines:
        if line.startswith("data: "):
            return json.loads(line.removeprefix("data: "))
    raise AssertionError("the stream ended")


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explorer]:
    with served(Story(), tmp_path_factory.mktemp("live")) as explorer:
        yield explorer


def test_a_reader_hears_where_things_stand_and_then_of_each_change(own: Explorer) -> None:
    with own.client.stream("GET", "/api/v1/live") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        lines = answer.iter_lines()
        first = told(lines)
        assert first["block"] == int(own.story.head()["number"], 16)
        own.story.propose(3, accept=False)
        assert told(lines)["studies"] == {"1": "2.0"}


def test_a_reader_that_went_away_makes_room_for_another(own: Explorer) -> None:
    waiting: list[Response] = []
    for _ in range(MOST_FOR_ONE):
        request = own.client.build_request("GET", "/api/v1/live")
        waiting.append(own.client.send(request, stream=True))
    assert {answer.status_code for answer in waiting} == {200}
    refused = own.client.get("/api/v1/live")
    assert (refused.status_code, refused.json()["code"]) == (503, "audit_api.too_many_readers")
    for answer in waiting:
        answer.close()
    while own.client.send(own.client.build_request("GET", "/api/v1/live"), stream=True).status_code == 503:
        own.story.wait(12)  # something new to tell: the service then finds out who is gone


def test_readers_are_bounded_in_number_and_one_can_not_take_all_places() -> None:
    async def scenario() -> None:
        live = Live()
        live.begin()
        now = Snapshot(Story().deployment)
        late = live.listen("late", now)
        streams = []
        for number in range(MOST_READERS):
            streams.append(live.listen(f"client {number // MOST_FOR_ONE}", now))
            await anext(streams[-1])
        with pytest.raises(TooMany):
            live.listen("another", now)
        assert [event async for event in late] == []
        await streams[0].aclose()
        assert live.readers == MOST_READERS - 1
        with pytest.raises(TooMany):
            live.listen("client 7", now)
        await anext(live.listen("another", now))

    asyncio.run(scenario())


def test_a_reader_that_never_begins_takes_no_place() -> None:
    live = Live()
    for _ in range(2 * MOST_READERS):
        live.listen("one", Snapshot(Story().deployment))
    assert live.readers == 0


def test_who_asks_for_the_head_alone_does_not_wait_for_the_stream(own: Explorer) -> None:
    answer = own.client.head("/api/v1/live")
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_slow_reader_gets_the_newest_and_not_all_between() -> None:
    async def scenario() -> None:
        live = Live()
        live.begin()
        deployment = Story().deployment
        stream = live.listen("one", Snapshot(deployment))
        await anext(stream)
        for number in range(100):
            live.tell(Snapshot(deployment, trouble=str(number)))
        await asyncio.sleep(0)
        assert '"trouble": "99"' in await anext(stream)
        live.end()
        assert [event async for event in stream] == []

    asyncio.run(scenario())
