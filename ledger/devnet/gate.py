"""The only way to the devnet: a Unix socket and a loopback port that pass reads on to anvil and sends to its chain.

anvil itself lets any caller rewrite balances, storage, time and history, and has no switch against it. Here only the
methods that a real chain's node has get through, and a web page can't reach the port: a browser asks first before it
posts JSON to another host, and nobody answers.
"""

import contextlib
import json
import socket
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from ledger.devnet.chain import Chain
from ledger.errors import DevnetError, RpcRefused
from ledger.transport import IpcConnection

_PASSED: Final = ("eth_", "net_", "web3_", "txpool_", "debug_", "trace_")
_NOT_PASSED: Final = frozenset(
    {"eth_sendTransaction", "eth_sendUnsignedTransaction", "eth_subscribe", "eth_unsubscribe", "eth_sign"}
)
_SENDS: Final = frozenset({"eth_sendRawTransaction", "eth_sendRawTransactionSync"})
_CALL_SECONDS: Final = 60.0
_MAX_REQUEST_BYTES: Final = 8 << 20
_MAX_RESPONSE_BYTES: Final = 256 << 20
_OWN_HOSTS: Final = ("127.0.0.1", "localhost")


class Desk:
    """Answers one client's requests, one after another, over a connection of its own to anvil."""

    def __init__(self, chain: Chain, anvil: Path) -> None:
        self._chain = chain
        self._anvil = IpcConnection(str(anvil), _CALL_SECONDS, _MAX_RESPONSE_BYTES)

    def answer(self, request: bytes) -> bytes:
        """Answer a request, or a batch of them; raises OSError where anvil has gone."""
        try:
            message = json.loads(request)
        except ValueError:
            return _line(_error(None, -32700, "the request is not JSON"))
        if not isinstance(message, list):
            return self._answer(message, request)
        answers = [json.loads(self._answer(one, json.dumps(one).encode())) for one in message]
        return _line(answers)

    def close(self) -> None:
        """Close the connection to anvil."""
        self._anvil.close()

    def _answer(self, message: Any, request: bytes) -> bytes:
        method = message.get("method") if isinstance(message, dict) else None
        if not isinstance(method, str):
            return _line(_error(None, -32600, "the request is not JSON-RPC"))
        if method in _SENDS:
            return _line(self._send(message, wait=method.endswith("Sync")))
        if method in _NOT_PASSED or not method.startswith(_PASSED):
            return _line(_error(message.get("id"), -32601, f"Method not found: the devnet does not offer {method}"))
        return self._anvil.ask(request)

    def _send(self, message: dict[str, Any], *, wait: bool) -> dict[str, Any]:
        number = message.get("id")
        match message.get("params"):
            case [str(transaction), *_]:
                pass
            case _:
                return _error(number, -32602, "a raw transaction is needed, in hex")
        try:
            digest, receipt = self._chain.send(transaction)
        except RpcRefused as refusal:
            return _error(number, refusal.number, refusal.message, refusal.data)
        if wait and receipt is None:
            return _error(number, 4, "Transaction confirmation timeout: it waits for another nonce", digest)
        return {"jsonrpc": "2.0", "id": number, "result": receipt if wait else digest}


def _error(number: Any, code: int, message: str, data: object = None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": number, "error": error}


def _line(answer: Any) -> bytes:
    return json.dumps(answer, separators=(",", ":")).encode() + b"\n"


class _Open:
    """The connections that are open, so that they can be ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()

    def add(self, connection: socket.socket) -> None:
        with self._lock:
            self._sockets.add(connection)

    def discard(self, connection: socket.socket) -> None:
        with self._lock:
            self._sockets.discard(connection)

    def end(self) -> None:
        with self._lock:
            for connection in self._sockets:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _IpcServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, path: Path, chain: Chain, anvil: Path, open_now: _Open) -> None:
        self.chain, self.anvil, self.open_now = chain, anvil, open_now
        super().__init__(str(path), _IpcHandler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that goes away is no error."""


class _IpcHandler(socketserver.StreamRequestHandler):
    server: _IpcServer

    def handle(self) -> None:
        self.server.open_now.add(self.connection)
        try:
            desk = Desk(self.server.chain, self.server.anvil)
            with contextlib.closing(desk):
                while line := self.rfile.readline(_MAX_REQUEST_BYTES):
                    self.wfile.write(desk.answer(line))
        except (OSError, DevnetError):
            return
        finally:
            self.server.open_now.discard(self.connection)


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port: int, chain: Chain, anvil: Path, open_now: _Open) -> None:
        self.chain, self.anvil, self.open_now = chain, anvil, open_now
        super().__init__(("127.0.0.1", port), _HttpHandler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that goes away is no error."""


class _HttpHandler(BaseHTTPRequestHandler):
    server: _HttpServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one packet

    def setup(self) -> None:
        super().setup()
        self.server.open_now.add(self.connection)
        self._desk = Desk(self.server.chain, self.server.anvil)

    def finish(self) -> None:
        self.server.open_now.discard(self.connection)
        self._desk.close()
        with contextlib.suppress(OSError):
            super().finish()

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _MAX_REQUEST_BYTES:
            self._reply(413, _line(_error(None, -32600, f"a request has at most {_MAX_REQUEST_BYTES} bytes")))
            self.close_connection = True
            return
        request = self.rfile.read(int(length))
        if self.headers.get("Host", "").rpartition(":")[0] not in _OWN_HOSTS:
            self._reply(403, _line(_error(None, -32600, "the devnet is for programs on this machine")))
        elif self.headers.get_content_type() != "application/json":
            self._reply(415, _line(_error(None, -32600, "the content type must be application/json")))
        else:
            try:
                self._reply(200, self._desk.answer(request))
            except (OSError, DevnetError):
                self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: what a client sends isn't ours to write down."""

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


class Gate:
    """The two servers, open from the start until `close`."""

    def __init__(self, path: Path, port: int, chain: Chain, anvil: Path) -> None:
        """Open both; `port` 0 takes any that is free. Raises DevnetError where it is in use."""
        self._path = path
        self._open = _Open()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        try:
            self._http = _HttpServer(port, chain, anvil, self._open)
        except OSError as error:
            raise DevnetError(f"port {port} can't be used for the devnet: {error.strerror}; choose another") from error
        self.port: int = self._http.server_address[1]
        try:
            self._ipc = _IpcServer(path, chain, anvil, self._open)
        except OSError as error:
            self._http.server_close()
            raise DevnetError(f"{path} can't be used as the devnet's socket: {error.strerror}") from error
        self._threads = [
            threading.Thread(target=server.serve_forever, args=(0.05,), name="devnet-gate", daemon=True)
            for server in (self._http, self._ipc)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Let nobody in any more, and end the connections that are open."""
        self._path.unlink(missing_ok=True)
        for server in (self._http, self._ipc):
            server.shutdown()
            server.server_close()
        self._open.end()
