"""One port to the node: the same answers over every transport, and a clear error for every way a node can fail."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ledger_world import account

from ledger.devnet import Devnet
from ledger.errors import ChainMismatch, RpcRefused, RpcUnreachable
from ledger.memory import MemoryChain
from ledger.rpc import Rpc, block_header, connect, data, eth_call

Behaviour = Callable[[socket.socket], None]


# -- the conformance suite: a real node over both transports, and the twin -------------------------------------------


@pytest.fixture(params=["ipc", "http", "memory"])
def rpc(request: pytest.FixtureRequest, devnet: Devnet) -> Rpc:
    addresses = {"ipc": devnet.ipc, "http": devnet.url}
    return MemoryChain(chain_id=4711) if request.param == "memory" else connect(addresses[request.param])


def send(rpc: Rpc, method: str, nonce: int, key: int) -> Any:
    return rpc.call(method, data(account(key).sign(4711, nonce, account(1).address, b"", 30_000).raw))


def test_a_transaction_is_mined_and_has_a_receipt(rpc: Rpc, request: pytest.FixtureRequest) -> None:
    key = 1_000 + hash(request.node.name) % 1_000_000
    assert rpc.call("eth_chainId") == hex(4711)
    before = int(rpc.call("eth_blockNumber"), 16)
    receipt = send(rpc, "eth_sendRawTransactionSync", 0, key)
    assert receipt["status"] == "0x1"
    assert int(receipt["blockNumber"], 16) > before
    assert rpc.call("eth_getTransactionReceipt", receipt["transactionHash"])["blockHash"] == receipt["blockHash"]
    assert rpc.call("eth_getTransactionCount", account(key).address, "pending") == "0x1"
    with pytest.raises(RpcRefused, match="nonce too low"):
        send(rpc, "eth_sendRawTransaction", 0, key)
    # A second one that waits for the one before it does not take effect, and is known.
    digest = send(rpc, "eth_sendRawTransaction", 2, key)
    assert rpc.call("eth_getTransactionReceipt", digest) is None
    assert rpc.call("eth_getTransactionByHash", digest)["hash"] == digest
    with pytest.raises(RpcRefused, match="already imported"):
        send(rpc, "eth_sendRawTransaction", 2, key)


def test_blocks_follow_on_each_other(rpc: Rpc, request: pytest.FixtureRequest) -> None:
    receipt = send(rpc, "eth_sendRawTransactionSync", 0, 2_000_000 + hash(request.node.name) % 1_000_000)
    header = block_header(rpc, receipt["blockNumber"])
    parent = block_header(rpc, hex(int(receipt["blockNumber"], 16) - 1))
    assert header["parentHash"] == parent["hash"]
    assert int(header["timestamp"], 16) >= int(parent["timestamp"], 16)
    assert receipt["transactionHash"] in header["transactions"]
    assert rpc.call("eth_getLogs", {"blockHash": header["hash"], "address": [account(1).address]}) == []


def test_what_is_not_there_is_none_or_refused(rpc: Rpc) -> None:
    assert rpc.call("eth_getBlockByNumber", "0xfffffff", False) is None
    with pytest.raises(ChainMismatch, match="no block"):
        block_header(rpc, "0xfffffff")
    with pytest.raises(RpcRefused, match="unknown block"):
        rpc.call("eth_getLogs", {"blockHash": data(b"\x11" * 32), "address": [account(1).address]})
    with pytest.raises(RpcRefused) as caught:
        rpc.call("eth_neverHeardOf")
    assert caught.value.number in (-32601, -32602)


# -- nodes that misbehave --------------------------------------------------------------------------------------------


@contextmanager
def ipc_server(folder: Path, *behaviours: Behaviour) -> Iterator[str]:
    """Serve one connection after another, each by the next behaviour, the last one again and again."""
    path = str(folder / "n")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        yield from _serve(listener, behaviours, f"ipc://{path}")


@contextmanager
def http_server(_: Path, *behaviours: Behaviour) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield from _serve(listener, behaviours, f"http://127.0.0.1:{listener.getsockname()[1]}")


def _serve(listener: socket.socket, behaviours: tuple[Behaviour, ...], url: str) -> Iterator[str]:
    listener.listen()
    open_now: list[socket.socket] = []

    def accept() -> None:
        left = list(behaviours)
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            open_now.append(connection)
            behave = left.pop(0) if len(left) > 1 else left[0]
            threading.Thread(target=_run, args=(behave, connection), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield url
    finally:
        for one in (listener, *open_now):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
            finally:
                one.close()
        thread.join()


def _run(behave: Behaviour, connection: socket.socket) -> None:
    try:
        behave(connection)
    except OSError:
        return


def receive(connection: socket.socket) -> dict[str, Any]:
    """Read a request, over a plain socket or over HTTP."""
    text = b""
    while True:
        part = connection.recv(65536)
        if not part:
            raise ConnectionResetError
        text += part
        body = text.rpartition(b"\r\n\r\n")[2].strip()
        if body.startswith(b"{") and body.endswith(b"}"):
            return dict(json.loads(body))


def send_answer(connection: socket.socket, body: bytes, *, http: bool, status: str = "200 OK") -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() if http else b""
    connection.sendall(head + body + (b"" if http else b"\n"))


def reply(request: dict[str, Any], result: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode()


SERVERS = pytest.mark.parametrize(("serve", "http"), [(ipc_server, False), (http_server, True)], ids=["ipc", "http"])
Serve = Callable[..., Any]


@SERVERS
def test_a_node_that_hangs_up_is_unreachable(tmp_path: Path, serve: Serve, http: bool) -> None:
    with serve(tmp_path, lambda connection: connection.close()) as url, connect(url) as rpc:
        with pytest.raises(RpcUnreachable, match="is it running") as caught:
            rpc.call("eth_chainId")
        assert caught.value.may_have_acted


@SERVERS
def test_a_node_that_hangs_up_in_the_middle_of_an_answer_is_unreachable(
    tmp_path: Path, serve: Serve, http: bool
) -> None:
    def behave(connection: socket.socket) -> None:
        answer = reply(receive(connection), "0x1")
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n\r\n".encode() if http else b""
        connection.sendall(head + answer[:10])
        connection.close()

    with serve(tmp_path, behave) as url, connect(url) as rpc, pytest.raises(RpcUnreachable):
        rpc.call("eth_chainId")


@SERVERS
def test_a_node_that_does_not_answer_is_unreachable_after_the_time_limit(
    tmp_path: Path, serve: Serve, http: bool
) -> None:
    def stall(connection: socket.socket) -> None:
        receive(connection)
        connection.recv(1)

    unreachable = pytest.raises(RpcUnreachable, match="no answer in time")
    with serve(tmp_path, stall) as url, connect(url, timeout=0.05) as rpc, unreachable:
        rpc.call("eth_chainId")


@SERVERS
def test_an_answer_that_trickles_is_cut_off_at_the_size_limit(tmp_path: Path, serve: Serve, http: bool) -> None:
    def flood(connection: socket.socket) -> None:
        send_answer(connection, reply(receive(connection), "x" * 200_000), http=http)

    unreachable = pytest.raises(RpcUnreachable, match="longer than 100000 bytes")
    with serve(tmp_path, flood) as url, connect(url, max_bytes=100_000) as rpc, unreachable:
        rpc.call("eth_chainId")


@SERVERS
@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"id": 99, "result": 1}', b"\xff\xfe", b"null"])
def test_an_answer_that_is_none_is_unreachable(tmp_path: Path, serve: Serve, http: bool, body: bytes) -> None:
    def behave(connection: socket.socket) -> None:
        receive(connection)
        send_answer(connection, body, http=http)

    with (
        serve(tmp_path, behave) as url,
        connect(url) as rpc,
        pytest.raises(RpcUnreachable, match="answered eth_chainId"),
    ):
        rpc.call("eth_chainId")


@SERVERS
def test_an_error_answer_is_a_refusal_with_its_number_and_data(tmp_path: Path, serve: Serve, http: bool) -> None:
    def behave(connection: socket.socket) -> None:
        number = receive(connection)["id"]
        error = {"code": 3, "message": "execution reverted", "data": "0x1234"}
        send_answer(connection, json.dumps({"id": number, "error": error}).encode(), http=http)

    with serve(tmp_path, behave) as url, connect(url) as rpc:
        with pytest.raises(RpcRefused, match="execution reverted") as caught:
            rpc.call("eth_call")
        assert (caught.value.number, caught.value.data) == (3, "0x1234")


def answer_once_then_close(http: bool) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        send_answer(connection, reply(receive(connection), "first"), http=http)
        connection.close()

    return behave


def answer_for_ever(http: bool) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        while True:
            request = receive(connection)
            send_answer(connection, reply(request, request["method"]), http=http)

    return behave


@SERVERS
def test_a_read_survives_that_the_node_closed_the_idle_connection(tmp_path: Path, serve: Serve, http: bool) -> None:
    with serve(tmp_path, answer_once_then_close(http), answer_for_ever(http)) as url, connect(url) as rpc:
        assert rpc.call("eth_chainId") == "first"
        assert rpc.call("eth_chainId") == "eth_chainId"


@SERVERS
def test_a_send_is_not_repeated_behind_the_senders_back(tmp_path: Path, serve: Serve, http: bool) -> None:
    with serve(tmp_path, answer_once_then_close(http), answer_for_ever(http)) as url, connect(url) as rpc:
        rpc.call("eth_chainId")
        with pytest.raises(RpcUnreachable) as caught:
            rpc.call("eth_sendRawTransaction", "0x")
        assert caught.value.may_have_acted


@SERVERS
def test_slow_calls_do_not_hold_up_others(tmp_path: Path, serve: Serve, http: bool) -> None:
    released = threading.Event()

    def behave(connection: socket.socket) -> None:
        while True:
            request = receive(connection)
            if request["method"] == "slow":
                released.wait()
            send_answer(connection, reply(request, request["method"]), http=http)

    with serve(tmp_path, behave) as url, connect(url) as rpc:
        answers: list[Any] = []
        slow = threading.Thread(target=lambda: answers.append(rpc.call("slow")))
        slow.start()
        assert rpc.call("quick") == "quick"
        released.set()
        slow.join()
        assert answers == ["slow"]


@SERVERS
def test_closing_ends_a_call_that_waits(tmp_path: Path, serve: Serve, http: bool) -> None:
    asked = threading.Event()

    def stall(connection: socket.socket) -> None:
        receive(connection)
        asked.set()
        connection.recv(1)

    with serve(tmp_path, stall) as url, connect(url) as rpc:
        failures: list[RpcUnreachable] = []

        def wait() -> None:
            try:
                rpc.call("eth_chainId")
            except RpcUnreachable as error:
                failures.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        asked.wait()
        rpc.close()
        waiting.join()
        assert len(failures) == 1
        with pytest.raises(RpcUnreachable, match="closed"):
            rpc.call("eth_chainId")


def test_an_endpoint_that_is_not_there_is_unreachable_and_nothing_was_sent(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()[1]
    for url in (f"ipc://{tmp_path}/none", f"http://127.0.0.1:{free}"):
        with connect(url) as rpc:
            with pytest.raises(RpcUnreachable, match="is it running") as caught:
                rpc.call("eth_sendRawTransaction", "0x")
            assert not caught.value.may_have_acted


def test_credentials_are_sent_and_never_shown(tmp_path: Path) -> None:
    seen: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        seen.append(connection.recv(65536))
        send_answer(connection, b"no", http=True, status="401 Unauthorized")

    with http_server(tmp_path, behave) as url:
        url = url.replace("http://", "http://me:s%20ecret@") + "/token-in-path"
        with connect(url) as rpc, pytest.raises(RpcUnreachable, match="other credentials") as caught:
            rpc.call("eth_chainId")
        shown = f"{caught.value} {rpc}"
    assert b"POST /token-in-path" in seen[0]
    assert b"Basic bWU6cyBlY3JldA==" in seen[0]  # me:s ecret
    assert not any(secret in shown for secret in ("ecret", "token-in-path", "bWU6"))


@pytest.mark.parametrize("url", ["", "localhost:8545", "ws://localhost", "http://", "ipc:", "file:///tmp/x"])
def test_an_address_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="a node's address is"):
        connect(url)


class OvertakenRpc:
    """A node that has mined another block each time before it looks at the state of the latest."""

    def __init__(self, times: int) -> None:
        self.left = times

    def call(self, method: str, *params: Any) -> Any:
        self.left -= 1
        if self.left >= 0:
            raise RpcRefused(-32602, "BlockOutOfRangeError: block height is 12 but requested was 11")
        return "0x2a"


def test_a_call_that_a_new_block_has_overtaken_is_made_again() -> None:
    assert eth_call(OvertakenRpc(3), {}, "latest") == b"*"
    with pytest.raises(RpcRefused):
        eth_call(OvertakenRpc(100), {}, "latest")
    with pytest.raises(RpcRefused):
        eth_call(OvertakenRpc(1), {}, "0xb")
