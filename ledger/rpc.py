"""The port to the chain's node: JSON-RPC calls, one at a time, from any thread.

web3's own providers are not used: its IPC provider spins on a processor until its time-out when the node dies, decodes
a long answer again at every packet, lets one slow call block all others, and bounds nothing; importing it costs a
second and 60 MB in every process.
"""

import contextlib
import itertools
import json
import re
import ssl
import weakref
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Protocol, Self
from urllib.parse import urlsplit

from ledger import abi
from ledger.errors import ChainMismatch, RpcRefused, RpcUnreachable
from ledger.transport import HttpTransport, IpcTransport, Transport

DEFAULT_TIMEOUT: Final = 30.0
MAX_RESPONSE_BYTES: Final = 64 << 20
_CALL_ATTEMPTS: Final = 5
_OVERTAKEN: Final = "BlockOutOfRange"
"""anvil looks the latest block up, and refuses it where another one is mined before it looks at its state."""
SYNC_TIMEOUT: Final = 4
"""The error number of a transaction that was taken and isn't in a block yet (EIP-7966)."""
_WRITES: Final = ("eth_send", "evm_", "anvil_")
_NOT_IN_URLS: Final = re.compile(r"[^\x21-\x7e]")


class Rpc(Protocol):
    """A node of the chain, as its JSON-RPC."""

    def call(self, method: str, *params: Any) -> Any:
        """Call a method and give its result; raises RpcRefused for an error answer, RpcUnreachable for none."""
        ...


class NodeRpc:
    """A node at the end of a transport. Safe to use from several threads: concurrent calls don't wait for each other.

    A read that fails on a connection that had been idle is tried once more on a fresh one; a send never is, since only
    the sender knows what it means.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        weakref.finalize(self, transport.close)
        self._ids = itertools.count(1)

    def __str__(self) -> str:
        return str(self._transport)

    def call(self, method: str, *params: Any) -> Any:
        """Call a method and give its result; raises RpcRefused for an error answer, RpcUnreachable for none."""
        number = next(self._ids)
        request = json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()
        answer = self._transport.exchange(request, again=not method.startswith(_WRITES))
        try:
            reply = json.loads(answer)
        except ValueError as error:
            raise RpcUnreachable(f"{self} answered {method} with {answer[:80]!r}, which is not JSON-RPC") from error
        if not isinstance(reply, dict) or reply.get("id") != number:
            raise RpcUnreachable(f"{self} answered {method} with something else than its answer")
        if reply.get("error") is not None:
            raise _refusal(reply["error"])
        return reply.get("result")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; calls that wait on them in other threads, and later ones, raise RpcUnreachable."""
        self._transport.close()


def _refusal(error: Any) -> RpcRefused:
    if not isinstance(error, Mapping):
        return RpcRefused(0, str(error))
    number = error.get("code")
    return RpcRefused(number if isinstance(number, int) else 0, str(error.get("message", "")), error.get("data"))


def connect(
    url: str,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    max_bytes: int = MAX_RESPONSE_BYTES,
    authorization: str | None = None,
    context: ssl.SSLContext | None = None,
) -> NodeRpc:
    """Make the RPC of a node from http://, https:// (with user:password@ where needed) or ipc:///path/to/socket.

    `authorization` is that HTTP header's value, in place of the URL's user and password; `context` says whom TLS
    trusts, in place of the system's authorities. Nothing is sent yet. A call fails after `timeout` seconds, or where
    its answer is longer than `max_bytes`. Raises ValueError for another kind of URL. Credentials, and what follows
    the port, never appear in a message.
    """
    with contextlib.suppress(ValueError):  # of the parser: it would quote what may be a password
        parts = urlsplit(url)
        if parts.scheme == "ipc" and parts.path:
            return NodeRpc(IpcTransport(parts.netloc + parts.path, timeout, max_bytes))
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not _NOT_IN_URLS.search(url):
            return NodeRpc(HttpTransport(parts, timeout, max_bytes, authorization, context))
    raise ValueError(
        "a node's address is http://host:port, https://... or ipc:///path; in it, a user's name and password are "
        "percent-encoded (a slash is %2F, a space %20)"
    )


def read_number(answer: Any) -> int:
    """Read a number from an answer; raises RpcUnreachable where it is none."""
    try:
        return int(answer, 16)
    except (TypeError, ValueError):
        raise RpcUnreachable(f"the chain's node answers {str(answer)[:80]!r} where a number is needed") from None


def quantity(number: int) -> str:
    """Spell a number as JSON-RPC wants it."""
    return hex(number)


def data(raw: bytes) -> str:
    """Spell bytes as JSON-RPC wants them."""
    return "0x" + raw.hex()


def eth_call(rpc: Rpc, call: dict[str, str], block: str) -> bytes:
    """Call without a transaction; raises the contract's own error where it reverts with one."""
    left = _CALL_ATTEMPTS
    while True:
        left -= 1
        try:
            return bytes.fromhex(rpc.call("eth_call", call, block)[2:])
        except RpcRefused as refusal:
            error = abi.decode_revert(_revert_data(refusal))
            if error is not None:
                raise error from refusal
            if block != "latest" or not left or _OVERTAKEN not in refusal.message:
                raise


def _revert_data(refusal: RpcRefused) -> bytes:
    found = refusal.data.get("data") if isinstance(refusal.data, Mapping) else refusal.data
    try:
        return bytes.fromhex(found[2:]) if isinstance(found, str) else b""
    except ValueError:
        return b""


def block_header(rpc: Rpc, block: str) -> Mapping[str, Any]:
    """Read a block's header by its number in hex, or by a tag; raises ChainMismatch where there is none."""
    header: Mapping[str, Any] | None = rpc.call("eth_getBlockByNumber", block, False)
    if header is None:
        raise ChainMismatch(f"the chain's node has no block {block}; was the chain reset, or is the node behind?")
    return header
