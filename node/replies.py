"""What those who train for the node say: one JSON object a line, bounded, and nothing else."""

import json
from collections.abc import Callable
from typing import Any, Protocol

import trio

from node.errors import WorkerError
from swarm.nesting import check_nesting

MAX_REPLY_BYTES = 1 << 20

Progress = Callable[[dict[str, Any]], None]


class Trains(Protocol):
    """Whoever trains one study for the node: its own training process, or a data scientist's loop."""

    async def request(self, op: str, *, progress: Progress | None = None, **fields: Any) -> dict[str, Any]:
        """Ask for one thing and await the answer; raises WorkerError, with a `cause` where the answer is an error."""
        ...

    async def close(self) -> None:
        """Be done with it."""
        ...


class Replies:
    """The replies of one stream; `who` names the speaker in errors."""

    def __init__(self, stream: trio.abc.ReceiveStream, who: str) -> None:
        self._stream = stream
        self._who = who
        self._unread = b""

    async def settled(self, progress: Progress | None) -> dict[str, Any]:
        """Read up to the reply that answers a request; raises WorkerError, or BrokenResourceError at the end."""
        while True:
            reply = await self.next()
            event = reply.pop("event", None)
            if event == "progress":
                if progress is not None:
                    progress(reply)
            elif event == "done":
                return reply
            elif event == "error":
                raise WorkerError(str(reply.get("message")), str(reply.get("code") or "unknown"))
            else:
                raise WorkerError(f"{self._who} sent an unknown reply {str(event)[:80]!r}")

    async def next(self) -> dict[str, Any]:
        """Read one reply."""
        while (end := self._unread.find(b"\n")) < 0:
            if len(self._unread) > MAX_REPLY_BYTES:
                raise WorkerError(f"{self._who} sent an overlong reply")
            data = await self._stream.receive_some(65536)
            if not data:
                raise trio.BrokenResourceError(f"end of {self._who}")
            self._unread += data
        line, self._unread = self._unread[:end], self._unread[end + 1 :]
        try:
            reply = json.loads(check_nesting(line))
        except ValueError:
            raise WorkerError(f"{self._who} sent something that is not JSON") from None
        if not isinstance(reply, dict):
            raise WorkerError(f"{self._who} sent something that is not a reply")
        return reply
