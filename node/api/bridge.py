"""From the HTTP interface's thread into the site's own: one short question at a time, and never for ever."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import trio

T = TypeVar("T")

PATIENCE = 5.0


class SiteStuck(Exception):
    """The site's loop did not answer in time, or has ended."""


class Bridge:
    """Asks the trio loop that `token` belongs to."""

    def __init__(self, token: trio.lowlevel.TrioToken) -> None:
        self._token = token

    async def ask(self, question: Callable[[], T]) -> T:
        """Call a function in the site's thread and give what it gives; raises SiteStuck."""
        answer: Future[T] = Future()

        def run() -> None:
            if not answer.set_running_or_notify_cancel():
                return
            try:
                answer.set_result(question())
            except Exception as error:  # noqa: BLE001 - handed to the one who asked
                answer.set_exception(error)

        try:
            self._token.run_sync_soon(run)
            return await asyncio.wait_for(asyncio.wrap_future(answer), PATIENCE)
        except (trio.RunFinishedError, TimeoutError):
            raise SiteStuck from None
