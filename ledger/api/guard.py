"""What stands before every request: whose name it was sent to, how often it comes, and that it only reads."""

import logging
from collections.abc import Iterable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ledger.api.problems import Refused, problem
from ledger.api.rates import Rates
from ledger.web import host_of, is_loopback

MAX_QUERY_BYTES: Final = 2048
_METHODS: Final = ("GET", "HEAD")
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
logger = logging.getLogger(__name__)


class Guard:
    """Wraps the application. `hosts` are the names that it answers to; loopback's are always among them where
    `is_local`, with any port.

    A page of a stranger's site that has its name point to this machine (DNS rebinding) says that name in its Host
    header. Cross-origin readers are let in by `origins` alone, and then by the application's own CORS answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        is_local: bool,
        hosts: Iterable[str] = (),
        rates: Rates | None = None,
        origins: Iterable[str] = (),
    ) -> None:
        self._app = app
        self._is_local = is_local
        self._hosts = frozenset(host.lower() for host in hosts)
        self._rates = rates
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens in it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        if scope["type"] != "http":
            return
        answer = _Answer(send, self._allowed(scope), is_head=scope["method"] == "HEAD")
        try:
            self._check(scope)
            await self._app({**scope, "method": "GET"}, receive, answer)
        except _HeadIsOver:
            pass
        except Refused as refused:
            await answer.end_with(refused, scope, receive)
        except Exception as error:  # the boundary to the network: logged, and told to nobody else
            logger.error("answering %s %r failed", scope["method"], scope["path"], exc_info=error)
            internal = Refused(500, "audit_api.internal", "an unexpected error; the service's log has it")
            await answer.end_with(internal, scope, receive)

    def _check(self, scope: Scope) -> None:
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not self._answers_to(hosts[0]):
            raise Refused(421, "audit_api.wrong_host", "this service does not answer to that host's name")
        if scope["method"] not in _METHODS:
            raise Refused(405, "audit_api.read_only", "this service only reads", headers={"allow": "GET, HEAD"})
        if len(scope["query_string"]) > MAX_QUERY_BYTES:
            raise Refused(422, "audit_api.too_long", f"a query has at most {MAX_QUERY_BYTES} bytes")
        if self._rates is not None:
            self._rates.spend(client_of(scope))

    def _answers_to(self, text: str) -> bool:
        host = host_of(text)
        return host.lower() in self._hosts or (self._is_local and is_loopback(host))

    def _allowed(self, scope: Scope) -> str | None:
        """Give the origin that may read the answer from another site's page; only the API's, and none by default."""
        if not scope["path"].startswith("/api/"):
            return None
        found = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
        return found[0] if len(found) == 1 and found[0] in self._origins else None


class _HeadIsOver(Exception):
    """Ends an answer that would go on for ever, where only its head was asked for."""


class _Answer:
    """Adds what every answer says to a browser; remembers whether one has begun."""

    def __init__(self, send: Send, origin: str | None, *, is_head: bool) -> None:
        self._send = send
        self._origin = origin
        self._is_head = is_head
        self._begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begun = True
            said = dict(_HEADERS)
            if self._origin is not None:
                said |= {"access-control-allow-origin": self._origin, "cross-origin-resource-policy": "cross-origin"}
                said["vary"] = "Origin"
            headers = [(name.encode(), value.encode()) for name, value in said.items()]
            message = {**message, "headers": [*message["headers"], *headers]}
            await self._send(message)
            if self._is_head:
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        elif not self._is_head:
            await self._send(message)
        elif message.get("more_body", False):
            raise _HeadIsOver

    async def end_with(self, refused: Refused, scope: Scope, receive: Receive) -> None:
        """End with a problem, unless something was said already."""
        if not self._begun:
            await problem(refused)(scope, receive, self)


def client_of(scope: Scope) -> str:
    """Name who asks: the address at the other end of the connection."""
    return str(scope["client"][0]) if scope.get("client") else ""
