"""Ways to bring one JSON-RPC request to a node and its answer back: a Unix socket, or HTTP."""

import base64
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Generic, Protocol, TypeVar
from urllib.parse import SplitResult, unquote

from ledger.errors import RpcUnreachable

_Connection = TypeVar("_Connection", "IpcConnection", HTTPConnection)
_READ_BYTES = 1 << 16


class Transport(Protocol):
    """Carries requests; safe to use from several threads."""

    def exchange(self, request: bytes, *, again: bool) -> bytes:
        """Send a request and give the answer; `again` says that it may be sent twice. Raises RpcUnreachable."""
        ...

    def close(self) -> None:
        """Close the idle connections."""
        ...


class _Idle(Generic[_Connection]):
    """The connections that wait for their next request; the one used last goes first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: list[_Connection] = []

    def take(self) -> _Connection | None:
        with self._lock:
            return self._connections.pop() if self._connections else None

    def put(self, connection: _Connection) -> None:
        with self._lock:
            self._connections.append(connection)

    def close(self) -> None:
        with self._lock:
            connections, self._connections = self._connections, []
        for connection in connections:
            connection.close()


def _exchange(
    idle: _Idle[_Connection], fresh: Callable[[], _Connection], ask: Callable[[_Connection], bytes], again: bool
) -> bytes:
    """Ask on an idle connection or a fresh one; an idle one may have been closed by the node in the meantime."""
    connection = idle.take()
    if connection is not None:
        try:
            answer = ask(connection)
        except TimeoutError:
            connection.close()
            raise
        except (OSError, HTTPException):
            connection.close()
            idle.close()  # they are as old as this one
            if not again:
                raise
        else:
            idle.put(connection)
            return answer
    connection = fresh()
    try:
        answer = ask(connection)
    except BaseException:
        connection.close()
        raise
    idle.put(connection)
    return answer


def _is_json(answer: bytes) -> bool:
    try:
        json.loads(answer)
    except ValueError:
        return False
    return True


class IpcConnection:
    """One Unix socket to a node; answers are lines, or single JSON objects where the node sends no line ends."""

    def __init__(self, path: str, timeout: float, max_bytes: int) -> None:
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(path)
        except BaseException:
            self._socket.close()
            raise

    def ask(self, request: bytes) -> bytes:
        """Send a request and read its answer."""
        deadline = time.monotonic() + self._timeout
        self._socket.settimeout(self._timeout)
        self._socket.sendall(request + b"\n")
        return self.read(deadline)

    def read(self, deadline: float) -> bytes:
        """Read one answer, up to its line end."""
        parts: list[bytes] = []
        size = 0
        while True:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            part = self._socket.recv(_READ_BYTES)
            if not part:
                raise ConnectionResetError("the node closed the connection")
            parts.append(part)
            size += len(part)
            if size > self._max_bytes:
                raise OSError(f"the answer is longer than {self._max_bytes} bytes")
            if part.endswith(b"\n") or (part.endswith(b"}") and _is_json(b"".join(parts))):
                return b"".join(parts)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class IpcTransport:
    """Requests over a node's Unix socket."""

    def __init__(self, path: str, timeout: float, max_bytes: int) -> None:
        self._path = path
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._idle: _Idle[IpcConnection] = _Idle()

    def __str__(self) -> str:
        return f"ipc://{self._path}"

    def exchange(self, request: bytes, *, again: bool) -> bytes:
        """Send a request and give the answer; `again` says that it may be sent twice. Raises RpcUnreachable."""
        try:
            return _exchange(self._idle, self._fresh, lambda connection: connection.ask(request), again)
        except OSError as error:
            raise _unreachable(self, error) from error

    def close(self) -> None:
        """Close the idle connections."""
        self._idle.close()

    def _fresh(self) -> IpcConnection:
        return IpcConnection(self._path, self._timeout, self._max_bytes)


class HttpTransport:
    """Requests over HTTP or HTTPS, on connections that are kept alive."""

    def __init__(self, url: SplitResult, timeout: float, max_bytes: int) -> None:
        self._scheme = url.scheme
        self._host = url.hostname or ""
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._headers = {"Content-Type": "application/json"}
        if url.username is not None:
            secret = f"{unquote(url.username)}:{unquote(url.password or '')}".encode()
            self._headers["Authorization"] = "Basic " + base64.b64encode(secret).decode()
        self._idle: _Idle[HTTPConnection] = _Idle()

    def __str__(self) -> str:
        return f"{self._scheme}://{self._host}:{self._port}"  # a path may hold an access token

    def exchange(self, request: bytes, *, again: bool) -> bytes:
        """Send a request and give the answer; `again` says that it may be sent twice. Raises RpcUnreachable."""
        try:
            return _exchange(self._idle, self._fresh, lambda connection: self._ask(connection, request), again)
        except (OSError, HTTPException) as error:
            raise _unreachable(self, error) from error

    def close(self) -> None:
        """Close the idle connections."""
        self._idle.close()

    def _fresh(self) -> HTTPConnection:
        connection: HTTPConnection
        if self._scheme == "https":
            context = ssl.create_default_context()
            connection = HTTPSConnection(self._host, self._port, timeout=self._timeout, context=context)
        else:
            connection = HTTPConnection(self._host, self._port, timeout=self._timeout)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _ask(self, connection: HTTPConnection, request: bytes) -> bytes:
        connection.request("POST", self._path, request, self._headers)
        response = connection.getresponse()
        answer = response.read(self._max_bytes + 1)
        if len(answer) > self._max_bytes:
            raise OSError(f"the answer is longer than {self._max_bytes} bytes")
        if response.status in (401, 403):
            raise OSError(f"HTTP {response.status}: the node wants other credentials")
        if response.status != 200 and not answer.lstrip().startswith(b"{"):
            raise OSError(f"HTTP {response.status} {response.reason}")
        return answer


def _unreachable(transport: Transport, error: Exception) -> RpcUnreachable:
    """Say who can't be reached and what to do."""
    why = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    return RpcUnreachable(f"the chain's node at {transport} can't be reached: {why}; is it running?")
