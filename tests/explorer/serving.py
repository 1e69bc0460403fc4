"""The whole service for tests: a story's chain, followed into an index, behind a real HTTP server."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

from httpx import Client
from story import Story

from ledger.api.app import guarded, make_app
from ledger.api.rates import Rates
from ledger.api.server import Listen, Up, serve
from ledger.api.service import Service, started
from ledger.explorer.pages import add_pages

PATIENCE = 300.0


@dataclass
class Explorer:
    """A running service, and a client of it."""

    story: Story
    service: Service
    url: str
    client: Client

    def until_read(self) -> None:
        """Wait until the service has read the newest block."""
        newest = int(self.story.head()["number"], 16)
        until(lambda: (block := self.service.view.snapshot.newest) is not None and block.number >= newest)

    def get(self, path: str) -> dict:
        """Ask the API for what must be there."""
        answer = self.client.get(f"/api/v1{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def all(self, path: str) -> list[dict]:
        """Ask for every page of a list."""
        found, cursor = [], ""
        while True:
            mark = "&" if "?" in path else "?"
            page = self.get(path + (f"{mark}cursor={cursor}" if cursor else ""))
            found += page["items"]
            cursor = page["next"]
            if cursor is None:
                return found


def until(reached: Callable[[], bool]) -> None:
    """Wait for something that another thread brings about."""
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


@contextmanager
def served(story: Story, folder: Path, *, rates: Rates | None = None, provisional: int = 12) -> Iterator[Explorer]:
    """Serve a story's chain until the context ends."""
    with started(
        story.ledger,
        folder / "index.sqlite",
        poll_seconds=0.02,
        provisional=provisional,
        warning="only a story",
        signatures=False,
    ) as service:
        app = make_app(service)
        add_pages(app)
        listening: Queue[Up] = Queue()
        guard = guarded(app, service, rates=rates, origins=["https://auditor.example"])
        arguments = (guard, Listen("127.0.0.1", 0), service.live, listening.put)
        thread = threading.Thread(target=serve, args=arguments, daemon=True)
        thread.start()
        up = listening.get(timeout=PATIENCE)
        try:
            with Client(base_url=up.url, timeout=PATIENCE) as client:
                explorer = Explorer(story, service, up.url, client)
                explorer.until_read()
                yield explorer
        finally:
            up.stop()
            thread.join(PATIENCE)
