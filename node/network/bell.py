"""A bell: who waits hears of what has happened since it last looked."""

import trio


class Bell:
    """Rung when something has changed."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def ring(self) -> None:
        """Wake everybody who waits."""
        self._event.set()
        self._event = trio.Event()

    def next(self) -> trio.Event:
        """The next time that it is rung; take it before looking, and nothing is missed."""
        return self._event


async def either(event: trio.Event, seconds: float) -> None:
    """Wait for an event, but not longer than some seconds."""
    with trio.move_on_after(seconds):
        await event.wait()
