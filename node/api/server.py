"""Serving the HTTP interface from a thread of its own, beside the site's loop.

Uvicorn in a thread, and not a trio server in the site's nursery: an exception in protocol code that strangers reach, or
a client that never reads its answer, may end or hold up the interface, and must not end or hold up the site. The thread
asks the site's loop over a bridge, so that an answer also says that the loop still turns. The price is one more thread.
"""

import logging
import socket
import ssl
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import trio
import uvicorn

from ledger import web
from node import log
from node.api.app import make_app
from node.api.bridge import Bridge
from node.api.guard import Guard
from node.api.live import LiveSite
from node.api.service import Service
from node.api.tokens import TokenBook
from node.config import ApiConfig
from node.errors import ConfigurationError

if TYPE_CHECKING:
    from trio_typing import TaskStatus

MOST_CONNECTIONS = 64


class _Server(uvicorn.Server):
    """Says when it has started."""

    def __init__(self, config: uvicorn.Config, token: trio.lowlevel.TrioToken) -> None:
        super().__init__(config)
        self.is_up = trio.Event()
        self.is_over = trio.Event()
        self._token = token

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        self._token.run_sync_soon(self.is_up.set)

    def run_in_thread(self, listening: socket.socket) -> None:
        """Serve until told to stop; whatever happens, the site hears of the end."""
        try:
            self.run(sockets=[listening])
        except Exception:  # the boundary of the thread: the site goes on without the interface
            logging.getLogger(__name__).exception("the HTTP interface failed")
        finally:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self.is_over.set)


async def serve_api(
    site: LiveSite, config: ApiConfig, *, task_status: "TaskStatus[str]" = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until cancelled; started, with its URL, once it listens. Raises ConfigurationError where it can't."""
    token = trio.lowlevel.current_trio_token()
    service = Service(site, config, Bridge(token), TokenBook(site.folder.api, site.me.address))
    with closing(_listen(config)) as listening:
        server = _Server(_settings(Guard(make_app(service), is_local=config.is_local), site, config), token)
        threading.Thread(target=server.run_in_thread, args=(listening,), name="api", daemon=True).start()
        try:
            await _until_up(server)
            url = web.url_of(listening, tls=config.certificate is not None)
            log.get().info("api_started", url=url)
            task_status.started(url)
            await server.is_over.wait()
            # The training goes on: others wait for it, and whoever asks for this site's health gets no answer.
            log.get().error("api_ended")
            await trio.sleep_forever()
        finally:
            server.should_exit = True
            with trio.CancelScope(shield=True), trio.move_on_after(web.GRACE_SECONDS + 1):
                await server.is_over.wait()


async def _until_up(server: _Server) -> None:
    async with trio.open_nursery() as nursery:

        async def end(event: trio.Event) -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(end, server.is_up)
        nursery.start_soon(end, server.is_over)
    if server.is_over.is_set():
        raise ConfigurationError("[api] could not be started; the log says why")


def _listen(config: ApiConfig) -> socket.socket:
    try:
        return web.listen(*config.endpoint, MOST_CONNECTIONS)
    except OSError as error:
        reason = f"[api] listen: can't listen on {config.listen}: {error.strerror or error}"
        raise ConfigurationError(f"{reason}; set another one in config.toml") from None


def _settings(app: Any, site: LiveSite, config: ApiConfig) -> uvicorn.Config:
    tls = None
    if config.certificate is not None and config.private_key is not None:
        tls = site.folder.home / config.certificate, site.folder.home / config.private_key
    try:
        return web.settings(app, MOST_CONNECTIONS, tls, lifespan="off")
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"[api] certificate or private_key can't be used: {error}") from None
