"""What stands before every request: whose name it was sent to, how large it is, and how long it may take."""

import asyncio
import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ledger.web import MAX_HEADER_BYTES, host_of, is_loopback
from node.api.problems import INTERNAL, UNAVAILABLE, Refused, problem
from swarm.nesting import check_nesting

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 16 << 10
REQUEST_SECONDS = 30.0
CONSENT_SECONDS = 600.0
"""Holding a large data set against a study takes its time."""


class Guard:
    """Wraps the application. `is_local`: only what was sent to a loopback name is answered.

    A page of a stranger's site that has its name point to this machine (DNS rebinding) says that name in its Host
    header. Where TLS is on, the certificate stands against that.
    """

    def __init__(self, app: ASGIApp, *, is_local: bool) -> None:
        self._app = app
        self._is_local = is_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens in it."""
        if scope["type"] != "http":
            return
        answer = _Answer(send)
        try:
            self._check(scope)
            body = await _read(receive, scope)
            _check_nesting(body)
            limit = CONSENT_SECONDS if scope["path"].endswith("/accept") else REQUEST_SECONDS
            async with asyncio.timeout(limit):
                await self._app(scope, _replay(body, receive), answer)
        except Refused as refused:
            await answer.end_with(refused, scope)
        except TimeoutError:
            await answer.end_with(UNAVAILABLE, scope)
        except Exception as error:  # the boundary to the network: logged, and told to nobody else
            logger.error("answering %s %r failed", scope["method"], scope["path"], exc_info=error)
            await answer.end_with(INTERNAL, scope)

    def _check(self, scope: Scope) -> None:
        told = [*(part for header in scope["headers"] for part in header), scope["raw_path"], scope["query_string"]]
        if sum(map(len, told)) > MAX_HEADER_BYTES:
            raise Refused(431, "api.too_large", f"path and headers have at most {MAX_HEADER_BYTES} bytes")
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if self._is_local and (len(hosts) != 1 or not is_loopback(host_of(hosts[0]))):
            raise Refused(421, "api.wrong_host", "this interface answers to 127.0.0.1, [::1] and localhost only")


class _Answer:
    """Remembers whether an answer has begun: after that there is nothing left to say."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begun = True
            message["headers"] = [
                *message["headers"],
                (b"cache-control", b"no-store"),
                (b"x-content-type-options", b"nosniff"),
            ]
        await self._send(message)

    async def end_with(self, refused: Refused, scope: Scope) -> None:
        if not self._begun:
            await problem(refused)(scope, _no_more, self)


def _check_nesting(body: bytes) -> None:
    try:
        check_nesting(body)
    except ValueError as error:
        raise Refused(400, "api.malformed", f"the request is {error}") from None


async def _read(receive: Receive, scope: Scope) -> bytes:
    """Take the whole body, which is small; raises Refused where it is not, or does not come."""
    told: bytes = dict(scope["headers"]).get(b"content-length", b"0")
    is_large = told.isdigit() and int(told) > MAX_BODY_BYTES
    body = bytearray()
    more = True
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            while more and not is_large:
                message = await receive()
                if message["type"] != "http.request":
                    raise Refused(400, "api.cut", "the request was cut")
                body += message.get("body", b"")
                more = message.get("more_body", False)
                is_large = len(body) > MAX_BODY_BYTES
    except TimeoutError:
        raise Refused(408, "api.too_slow", f"the request did not come within {REQUEST_SECONDS:.0f} s") from None
    if is_large:
        close = {"connection": "close"}
        raise Refused(413, "api.too_large", f"a request has at most {MAX_BODY_BYTES} bytes", headers=close)
    return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _no_more() -> Message:
    return {"type": "http.disconnect"}
