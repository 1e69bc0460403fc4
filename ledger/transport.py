"""Ways to bring one JSON-RPC request to a node and its answer back: a Unix socket, or HTTP."""

import base64
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Generic, Protocol, TypeVar
from urllib.parse import SplitResult, unquote

from ledger.errors import RpcUnreachable

_READ_BYTES = 1 << 16
_CONNECT_SECONDS = 10.0
_CUT_OPTIONS = {"TCP_USER_TIMEOUT": 10_000, "TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 2}


class _Socketed(Protocol):
    """A connection that is a socket, or has none while it is closed."""

    sock: socket.socket

    def close(self) -> None: ...


_Connection = TypeVar("_Connection", bound=_Socketed)


class Transport(Protocol):
    """Carries requests; safe to use from several threads."""

    def exchange(self, request: bytes, *, again: bool) -> bytes:
        """Send a request and give the answer; `again` says that it may be sent twice. Raises RpcUnreachable."""
        ...

    def close(self) -> None:
        """Close all connections; calls that wait on them, and later ones, raise RpcUnreachable."""
        ...


class _Pool(Generic[_Connection]):
    """Connections to one node. A request has one to itself; the one used last is used next."""

    def __init__(self, name: str, connect: Callable[[], _Connection]) -> None:
        self._name = name
        self._connect: Callable[[], _Connection] = connect
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()
        self._is_closed = False

    def exchange(self, ask: Callable[[_Connection], bytes], again: bool) -> bytes:
        """Ask on an idle connection, or a fresh one where there is none, or where the idle one is dead and `again`."""
        connection = self._take()
        if connection is not None:
            try:
                return self._ask(connection, ask)
            except (OSError, HTTPException) as error:
                self._drop_idle()  # they are as old as this one, and the node has closed it, or the way to it is cut
                if not again or _is_slow(error):
                    raise self._unreachable(error) from error
        try:
            connection = self._fresh()
        except (OSError, HTTPException) as error:
            raise self._unreachable(error, may_have_acted=False) from error
        try:
            return self._ask(connection, ask)
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error

    def close(self) -> None:
        """Close all connections, those in use too, and open no more."""
        with self._lock:
            self._is_closed = True
            idle, busy = self._idle, list(self._busy)
            self._idle = []
        for connection in idle:
            connection.close()
        for connection in busy:
            _hang_up(connection)

    def _take(self) -> _Connection | None:
        with self._lock:
            if not self._idle:
                return None
            connection = self._idle.pop()
            self._busy.add(connection)
            return connection

    def _fresh(self) -> _Connection:
        if self._is_closed:
            raise OSError("this client was closed")
        connection = self._connect()
        with self._lock:
            self._busy.add(connection)
        return connection

    def _ask(self, connection: _Connection, ask: Callable[[_Connection], bytes]) -> bytes:
        try:
            answer = ask(connection)
        except BaseException:
            with self._lock:
                self._busy.discard(connection)
            connection.close()
            raise
        with self._lock:
            self._busy.discard(connection)
            keep = not self._is_closed
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()
        return answer

    def _drop_idle(self) -> None:
        with self._lock:
            connections, self._idle = self._idle, []
        for connection in connections:
            connection.close()

    def _unreachable(self, error: Exception, *, may_have_acted: bool = True) -> RpcUnreachable:
        """Say who can't be reached and what to do."""
        return RpcUnreachable(
            f"the chain's node at {self._name} can't be reached: {_why(error)}", may_have_acted=may_have_acted
        )


def basic(credentials: str) -> str:
    """Make the value of an Authorization header from user:password."""
    return "Basic " + base64.b64encode(credentials.encode()).decode()


def _why(error: Exception) -> str:
    """Say what went wrong with a connection, and what to do."""
    if isinstance(error, TimeoutError):
        return "no answer in time; is it running?"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate isn't trusted ({error.verify_message}); is the CA's certificate in ca_file?"
    return f"{error or type(error).__name__}; is it running?"


def _is_slow(error: Exception) -> bool:
    """Whether the node took too long, where the connection itself may be well."""
    return isinstance(error, TimeoutError) and error.errno is None


def _notice_cuts(connection: socket.socket) -> None:
    """Have the kernel end a connection whose other end acknowledges nothing: the next call goes by another one.

    Else a call waits for its whole time-out where a cable was cut or this machine's address has changed, and after a
    long cut as long again, since TCP asks ever more rarely.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _CUT_OPTIONS.items():
        if hasattr(socket, name):  # Linux has all of them
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _hang_up(connection: _Socketed) -> None:
    """End a connection that another thread may be waiting on."""
    with suppress(OSError, AttributeError):  # http.client sets its socket to None when it closes it
        connection.sock.shutdown(socket.SHUT_RDWR)


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
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        try:
            self.sock.connect(path)
        except BaseException:
            self.sock.close()
            raise

    def ask(self, request: bytes) -> bytes:
        """Send a request and read its answer."""
        deadline = time.monotonic() + self._timeout
        self.sock.settimeout(self._timeout)
        self.sock.sendall(request + b"\n")
        return self.read(deadline)

    def read(self, deadline: float) -> bytes:
        """Read one answer, up to its line end."""
        parts: list[bytes] = []
        size = 0
        while True:
            self.sock.settimeout(max(deadline - time.monotonic(), 0.001))
            part = self.sock.recv(_READ_BYTES)
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
        self.sock.close()


class IpcTransport:
    """Requests over a node's Unix socket."""

    def __init__(self, path: str, timeout: float, max_bytes: int) -> None:
        self._name = f"ipc://{path}"
        self._pool = _Pool(self._name, lambda: IpcConnection(path, timeout, max_bytes))

    def __str__(self) -> str:
        return self._name

    def exchange(self, request: bytes, *, again: bool) -> bytes:
        """Send a request and give the answer; `again` says that it may be sent twice. Raises RpcUnreachable."""
        return self._pool.exchange(lambda connection: connection.ask(request), again)

    def close(self) -> None:
        """Close all connections; calls that wait on them, and later ones, raise RpcUnreachable."""
        self._pool.close()


class HttpTransport:
    """Requests over HTTP or HTTPS, on connections that are kept alive.

    `authorization` is that header's value, in place of the URL's user and password; `context` says whom TLS trusts.
    """

    def __init__(
        self,
        url: SplitResult,
        timeout: float,
        max_bytes: int,
        authorization: str | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._scheme = url.scheme
        self._host = url.hostname or ""
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._headers = {"Content-Type": "application/json"}
        if authorization is not None:
            self._headers["Authorization"] = authorization
        elif url.username is not None:
            self._headers["Authorization"] = basic(f"{unquote(url.username)}:{unquote(url.password or '')}")
        self._context = context
        self._pool = _Pool(str(self), self._connect)

    def __str__(self) -> str:
        return f"{self._scheme}://{self._host}:{self._port}"  # a path may hold an access token

    def exchange(self, request: bytes, *, again: bool) -> bytes:
        """Send a request and give the answer; `again` says that it may be sent twice. Raises RpcUnreachable."""
        return self._pool.exchange(lambda connection: self._ask(connection, request), again)

    def close(self) -> None:
        """Close all connections; calls that wait on them, and later ones, raise RpcUnreachable."""
        self._pool.close()

    def _connect(self) -> HTTPConnection:
        connection: HTTPConnection
        patience = min(self._timeout, _CONNECT_SECONDS)
        if self._scheme == "https":
            if self._context is None:
                self._context = ssl.create_default_context()
            connection = HTTPSConnection(self._host, self._port, timeout=patience, context=self._context)
        else:
            connection = HTTPConnection(self._host, self._port, timeout=patience)
        connection.connect()
        connection.sock.settimeout(self._timeout)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _notice_cuts(connection.sock)
        return connection

    def _ask(self, connection: HTTPConnection, request: bytes) -> bytes:
        connection.auto_open = 0  # a closed connection must show, not be opened again behind our back
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
