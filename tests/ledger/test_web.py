"""What every HTTP service of ours does with clients that only take up places."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from time import monotonic, sleep
from typing import Any

import httpx
import pytest
import uvicorn

from ledger import web

PATIENCE = 30.0
SMALL = 4096
ANSWER = bytes(8 << 20)


async def large_answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": ANSWER})


@contextmanager
def serving() -> Iterator[tuple[uvicorn.Server, int]]:
    """Serve over sockets that hold little, so that what a client doesn't read stays in the process."""
    server = uvicorn.Server(web.settings(large_answer, 8, None, lifespan="off"))
    with closing(web.listen("127.0.0.1", 0, 8)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            yield server, listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(PATIENCE)


def until(reached: Callable[[], bool]) -> None:
    deadline = monotonic() + PATIENCE
    while not reached():
        assert monotonic() < deadline
        sleep(0.01)


@pytest.mark.parametrize("request_", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"])
def test_who_takes_up_a_place_and_does_nothing_loses_it(request_: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "IDLE_SECONDS", 0.2)
    with serving() as (server, port), closing(socket.socket()) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        client.connect(("127.0.0.1", port))
        client.sendall(request_)
        until(lambda: bool(server.server_state.connections))
        until(lambda: not server.server_state.connections)


def test_who_reads_gets_all_of_it_however_small_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "IDLE_SECONDS", 0.5)  # it is looked at on the way
    with serving() as (_, port):
        assert httpx.get(f"http://127.0.0.1:{port}/", timeout=PATIENCE).content == ANSWER
