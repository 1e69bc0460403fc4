"""A bell: who waits hears of what happens from then on."""

import trio


class Bell:
    """Rung when something has changed."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def ring(self) -> None:
        """Wake everybody who waits."""
        self._event.set()
        self._event = trio.Event()

    async def heard(self, at_most: float = float("inf")) -> None:
        """Wait until it is rung, or for some seconds."""
        event = self._event
        with trio.move_on_after(at_most):
            await event.wait()
