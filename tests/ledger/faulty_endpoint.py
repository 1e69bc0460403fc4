"""An Ethereum node's JSON-RPC endpoint with faults to be switched on: a proxy between one site and the real chain."""

import contextlib
import json
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Mapping
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from ledger.errors import RpcRefused, RpcUnreachable
from ledger.rpc import NodeRpc, connect, quantity

LIE = "0x" + "5e" * 32


class RpcFault(Enum):
    """What may be wrong with an endpoint."""

    LAGS = auto()  # every answer comes `delay` seconds late
    STALLS = auto()  # takes requests and never answers
    DROPS = auto()  # closes the connection in place of every answer, having done what was asked
    IS_DOWN = auto()  # refuses connections, as while it restarts
    IS_STALE = auto()  # answers as of the block at which the fault began; passes transactions on
    SWALLOWS = auto()  # takes transactions, says so, and throws them away
    LIES = auto()  # gives another hash for its newest block than it has
    FORKED = auto()  # serves the chain of `another`, which has another history
    BABBLES = auto()  # answers with JSON-RPC that means nothing


class FaultyEndpoint:
    """Serves HTTP on a port of this machine, which stays the same; a context manager."""

    def __init__(
        self,
        real: str,
        *,
        delay: float = 1.0,
        another: str | None = None,
        tls: ssl.SSLContext | None = None,
        wants: str | None = None,
    ) -> None:
        """Put an endpoint before the node at `real`.

        `another` is the node of another history; `wants` is the Authorization header without which it answers 401.
        """
        self.asked: Counter[str] = Counter()
        self.authorizations: set[str] = set()
        self._real = connect(real)
        self._another = connect(another) if another is not None else None
        self._delay = delay
        self.wants = wants
        self._tls = tls
        self._fault: RpcFault | None = None
        self._frozen_at = 0
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._server: _Server | None = _Server(0, self)
        self.port: int = self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def set(self, fault: RpcFault | None) -> None:
        """Have this fault, and no other, from now on; None heals. Connections that stall are let go."""
        if fault is RpcFault.IS_STALE:
            self._frozen_at = int(self._real.call("eth_blockNumber"), 16)
        with self._changed:
            before, self._fault = self._fault, fault
            self._changed.notify_all()
        if fault is RpcFault.IS_DOWN:
            self._stop()
        elif before is RpcFault.IS_DOWN:
            self._server = _Server(self.port, self)

    def close(self) -> None:
        self.set(None)
        self._stop()
        for node in (self._real, self._another):
            if node is not None:
                node.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def answer(self, request: Mapping[str, Any]) -> bytes | None:
        """Answer a request; None where the connection is to be closed instead."""
        method, params = str(request["method"]), list(request["params"])
        self.asked[method] += 1
        with self._changed:
            fault = self._fault
            if fault is RpcFault.LAGS:
                self._changed.wait_for(lambda: self._fault is not fault, self._delay)
            if fault is RpcFault.STALLS:
                self._changed.wait_for(lambda: self._fault is not fault)
                return None
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        try:
            reply["result"] = self._result(fault, method, params)
        except RpcRefused as refusal:
            reply["error"] = {"code": refusal.number, "message": refusal.message, "data": refusal.data}
        except RpcUnreachable:
            return None
        return None if fault is RpcFault.DROPS else json.dumps(reply).encode()

    def _result(self, fault: RpcFault | None, method: str, params: list[Any]) -> Any:
        node: NodeRpc = self._real
        match fault:
            case RpcFault.BABBLES:
                return {"what": None}
            case RpcFault.SWALLOWS if method.startswith("eth_sendRaw"):
                if method.endswith("Sync"):
                    raise RpcRefused(4, "Transaction confirmation timeout")
                return LIE
            case RpcFault.FORKED if self._another is not None:
                node = self._another
            case RpcFault.IS_STALE:
                return self._stale(method, params)
        result = node.call(method, *params)
        if fault is RpcFault.LIES and method == "eth_getBlockByNumber" and result is not None:
            newest = node.call("eth_blockNumber")
            return {**result, "hash": LIE} if result["number"] == newest else result
        return result

    def _stale(self, method: str, params: list[Any]) -> Any:
        """Answer as a node that has stopped to follow the chain."""
        head = quantity(self._frozen_at)
        match method:
            case "eth_blockNumber":
                return head
            case "eth_getBlockByNumber":
                number = self._frozen_at if params[0] == "latest" else int(params[0], 16)
                return self._real.call(method, quantity(number), False) if number <= self._frozen_at else None
            case "eth_getTransactionReceipt":
                receipt = self._real.call(method, *params)
                return receipt if receipt and int(receipt["blockNumber"], 16) <= self._frozen_at else None
            case "eth_sendRawTransactionSync":
                self._real.call("eth_sendRawTransaction", *params)
                raise RpcRefused(4, "Transaction confirmation timeout")
        return self._real.call(method, *params)

    def _stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port: int, endpoint: FaultyEndpoint) -> None:
        self.endpoint = endpoint
        super().__init__(("127.0.0.1", port), _Handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands, where that is asked for, in the connection's own thread."""
        if self.endpoint._tls is not None:
            request = self.endpoint._tls.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that goes away is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def setup(self) -> None:
        super().setup()
        self.server.endpoint._open.add(self.connection)

    def finish(self) -> None:
        self.server.endpoint._open.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()
        self.connection.close()

    def do_POST(self) -> None:
        endpoint = self.server.endpoint
        authorization = self.headers.get("Authorization", "")
        endpoint.authorizations.add(authorization)
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        allowed = endpoint.wants in (None, authorization)
        body = endpoint.answer(request) if allowed else b"no"
        if body is None:
            self.close_connection = True
            return
        self.send_response_only(200 if allowed else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""
