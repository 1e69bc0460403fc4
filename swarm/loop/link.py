"""The loop's end of the connection to its node, which may restart, or not be there yet."""

import select
import socket
import time
from collections.abc import Callable
from pathlib import Path

from swarm.errors import LoopError
from swarm.loop.meeting import (
    MAX_MESSAGE_BYTES,
    Evaluate,
    Refuse,
    Request,
    Train,
    address,
    decode_request,
    encode,
    final_model,
    hello,
    read_file,
    socket_in,
    state_in,
)

RECONNECT_SECONDS = 0.2
SEND_SECONDS = 10.0
PATIENCE_SECONDS = 5.0
"""How long a loop waits before it says so."""

Tell = Callable[[str], None]


class Link:
    """What the node asks, one request after the other; `asked` is the one that it awaits an answer to.

    A connection that is cut takes `asked` with it: the node asks again on the next one.
    """

    def __init__(self, folder: Path, spec_hash: bytes, tell: Tell) -> None:
        self.asked: Train | Evaluate | None = None
        self._folder = folder
        self._spec_hash = spec_hash
        self._tell = tell
        self._told = ""
        self._socket: socket.socket | None = None
        self._unread = b""
        self._next_attempt = 0.0

    def poll(self) -> Train | Evaluate | None:
        """Give a new request if there is one, without waiting; raises LoopError where the node refuses this loop."""
        return self._receive(0.0) if self._connect() else None

    def wait(self) -> Train | Evaluate:
        """Give the request that awaits an answer, or the next one; the final model also where no node runs any more.

        Raises LoopError where the study was aborted, or the node refuses this loop.
        """
        while self.asked is None:
            if self._connect():
                if self._receive(PATIENCE_SECONDS) is None and self._socket is not None:
                    self._say("waiting for the other sites; `swarm-node status` says for whom, and until when")
                continue
            if (final := final_model(self._folder)) is not None:
                return Evaluate(final)
            self._look_around()
            time.sleep(RECONNECT_SECONDS)
        self._told = ""
        return self.asked

    def answer(self, reply: dict[str, object]) -> None:
        """Answer what was asked. Where the connection is lost, the node asks again."""
        self.asked = None
        if self._socket is not None:
            try:
                self._socket.settimeout(SEND_SECONDS)
                self._socket.sendall(encode(reply))
            except OSError:
                self.close()

    def pass_over(self) -> None:
        """Leave what was asked without an answer: the round's deadline is the answer to it."""
        self.asked = None

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._unread, self.asked = None, b"", None

    def _connect(self) -> bool:
        """Whether there is a connection; tries to make one a few times a second."""
        if self._socket is not None:
            return True
        if time.monotonic() < self._next_attempt:
            return False
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(SEND_SECONDS)
            with address(socket_in(self._folder)) as path:
                connection.connect(path)
            connection.sendall(hello(self._spec_hash))
        except OSError:
            connection.close()
            self._next_attempt = time.monotonic() + RECONNECT_SECONDS
            return False
        self._socket = connection
        return True

    def _receive(self, seconds: float | None) -> Train | Evaluate | None:
        """Read one request; None where none came in that time, or the connection was cut."""
        connection = self._socket
        while connection is not None and b"\n" not in self._unread:
            if not select.select([connection], [], [], seconds)[0]:
                return None
            try:
                data = connection.recv(4096)
            except OSError:
                data = b""
            self._unread += data
            if not data or len(self._unread) > MAX_MESSAGE_BYTES:
                self.close()
                return None
        line, _, self._unread = self._unread.partition(b"\n")
        self.asked = self._admitted(decode_request(line))
        return self.asked

    def _admitted(self, request: Request) -> Train | Evaluate:
        if isinstance(request, Refuse):
            self.close()
            raise LoopError(f"the site's node does not take this training loop: {request.says}")
        return request

    def _look_around(self) -> None:
        """Say why there is no connection; raises LoopError where there won't be one."""
        state = read_file(state_in(self._folder)) or {}
        if state.get("ended"):
            raise LoopError(str(state.get("says"))[:1024])
        self._say(f"waiting for the site's node: is `swarm-node run` running, and is {self._folder.name} its study?")

    def _say(self, sentence: str) -> None:
        if sentence != self._told:
            self._told = sentence
            self._tell(sentence)
