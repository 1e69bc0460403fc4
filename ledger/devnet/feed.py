"""A connection to anvil that also brings its notifications of new transactions."""

import json
import socket
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

from ledger.errors import DevnetError, RpcRefused

_READ_BYTES = 1 << 16
_CALL_SECONDS = 30.0


class Feed:
    """Calls on one Unix socket, one at a time, with the notifications that arrive in between kept for later."""

    def __init__(self, path: Path) -> None:
        """Connect; raises OSError."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._buffer = bytearray()
        self._number = 0
        self._pending: deque[str] = deque()
        try:
            self._socket.connect(str(path))
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Give the descriptor, for select()."""
        return self._socket.fileno()

    def call(self, method: str, *params: Any) -> Any:
        """Call a method; raises RpcRefused, and OSError where anvil has gone."""
        self._number += 1
        request = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        deadline = time.monotonic() + _CALL_SECONDS
        self._socket.settimeout(_CALL_SECONDS)
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            for message in self._messages():
                if message.get("id") == self._number:
                    if "error" in message:
                        error = message["error"]
                        raise RpcRefused(error["code"], error["message"], error.get("data"))
                    return message.get("result")
            self._receive(max(deadline - time.monotonic(), 0.001))

    def follow_transactions(self) -> None:
        """Ask for a notification of each transaction that could be mined."""
        self.call("eth_subscribe", "newPendingTransactions")

    @property
    def has_news(self) -> bool:
        """Whether notifications came in between the answers of calls: the socket has nothing more to tell of them."""
        return bool(self._pending)

    def new_transactions(self) -> list[str]:
        """Give the hashes that have arrived, without waiting; raises OSError where anvil has gone."""
        with suppress(BlockingIOError):
            self._receive(0)
        for _ in self._messages():
            raise DevnetError("anvil answered a question that was not asked")
        hashes = list(self._pending)
        self._pending.clear()
        return hashes

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _receive(self, timeout: float) -> None:
        self._socket.settimeout(timeout)
        part = self._socket.recv(_READ_BYTES)
        if not part:
            raise ConnectionResetError("anvil closed the connection")
        self._buffer += part

    def _messages(self) -> list[dict[str, Any]]:
        """Take the whole lines that have arrived; notifications are kept aside, answers are given."""
        end = self._buffer.rfind(b"\n") + 1
        lines = bytes(self._buffer[:end]).splitlines()
        del self._buffer[:end]
        answers: list[dict[str, Any]] = []
        for line in lines:
            message = json.loads(line)
            if message.get("method") == "eth_subscription":
                self._pending.append(message["params"]["result"])
            else:
                answers.append(message)
        return answers
