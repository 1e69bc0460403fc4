"""Calling one member: at the addresses that the ledger has for it, at those that peers know, and through relays.

Addresses are only ever hints. Whoever answers must prove the member's key in the Noise handshake, so a wrong or
malicious one costs an attempt and no more.
"""

import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

import trio
from libp2p.abc import INetConn
from libp2p.exceptions import BaseLibp2pError
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from node.network.peer_id import Route, route
from node.network.port import Address, FaultKind, OnFault, PeerFault
from node.network.pull import SourceFailed
from node.network.swarm import SturdySwarm
from node.network.tuning import Tuning

logger = logging.getLogger(__name__)

MAX_HINTS = 8
MAX_RELAYS = 4  # that are tried for one call

Source = tuple[str, int]
"""A local address and port."""


@dataclass(frozen=True, slots=True)
class Ways:
    """What a site has for calling its members; the host provides it."""

    swarm: SturdySwarm
    tuning: Tuning
    source: Callable[[], Source | None]
    """The local port to call from, None for any."""
    relays: Callable[[], Sequence[Address]]
    """Connected members that relay."""
    through: Callable[[Address, ID], Awaitable[INetConn]]
    """Call a peer through a relay; raises SourceFailed, or what libp2p raises."""


class Dialler:
    """The known ways to one member."""

    def __init__(self, address: Address, ways: Ways, note: OnFault) -> None:
        self.worked: str | None = None  # the address of the last call that was answered
        self._address = address
        self._ways = ways
        self._note = note
        self._published: tuple[str, ...] = ()
        self._routes: list[Route] = []
        self._hints: list[Route] = []

    def publish(self, addresses: Sequence[str]) -> bool:
        """Replace the ledger's addresses, noting those that aren't this member's; gives whether they are news."""
        if tuple(addresses) == self._published:
            return False
        self._published = tuple(addresses)
        self._routes = []
        for text in addresses:
            try:
                self._routes.append(route(self._address, text))
            except ValueError as error:
                self._note(PeerFault(self._address, FaultKind.MALFORMED, f"published address: {error}"))
        return True

    @property
    def published(self) -> tuple[str, ...]:
        """The ledger's addresses."""
        return self._published

    def hint(self, addresses: Iterable[str]) -> bool:
        """Add addresses that a peer has told of; gives whether there was news among them."""
        fresh = []
        for text in addresses:
            try:
                one = route(self._address, text)
            except ValueError as error:
                logger.debug("a hint for %s that is none: %s", self._address, error)
                continue
            if one not in self._routes and one not in self._hints and one not in fresh:
                fresh.append(one)
        self._hints = [*fresh, *self._hints][:MAX_HINTS]  # old ones fall out
        return bool(fresh)

    def known(self) -> ID | None:
        """The member's peer ID, where any address names it."""
        return next((one.peer for one in (*self._routes, *self._hints)), None)

    def targets(self) -> list[tuple[ID, Multiaddr]]:
        """Addresses to call directly."""
        return [(one.peer, one.target) for one in (*self._routes, *self._hints) if one.target is not None]

    def relays(self) -> list[Address]:
        """Connected relays to try: those that the member has named, else any."""
        connected = [relay for relay in self._ways.relays() if relay != self._address]
        routes = (*self._routes, *self._hints)
        named = dict.fromkeys(one.relay for one in routes if one.relay is not None and one.relay in connected)
        return (list(named) or connected)[:MAX_RELAYS]

    async def dial(self, peer: ID | None) -> INetConn:
        """Call, each address a little after the one before, and through relays after all of them; the first wins.

        `peer` is the member's peer ID where it is known from an earlier connection. Raises SourceFailed.
        """
        peer = peer or self.known()
        if peer is None:
            raise SourceFailed(FaultKind.UNREACHABLE, "it has published no address to dial, and has not called")
        call = _Call(self._address, self._ways)
        connection = await call.run(self.targets(), [(peer, relay) for relay in self.relays()])
        self.worked = call.worked
        return connection


class _Call:
    """One attempt at all ways to a member."""

    def __init__(self, address: Address, ways: Ways) -> None:
        self.worked: str | None = None
        self._address = address
        self._ways = ways
        self._won: INetConn | None = None
        self._errors: list[str] = []

    async def run(self, targets: Sequence[tuple[ID, Multiaddr]], relays: Sequence[tuple[ID, Address]]) -> INetConn:
        """Try all; raises SourceFailed with what went wrong at each."""
        tuning = self._ways.tuning
        async with trio.open_nursery() as nursery:
            directly = trio.Event()
            nursery.start_soon(self._directly, targets, nursery.cancel_scope, directly)
            with trio.move_on_after(tuning.relay_after):
                await directly.wait()
            for peer, relay in relays:
                over = trio.Event()
                nursery.start_soon(self._through, peer, relay, nursery.cancel_scope, over)
                with trio.move_on_after(tuning.stagger):
                    await over.wait()
        if self._won is None:
            raise SourceFailed(FaultKind.UNREACHABLE, "; ".join(self._errors) or "no address of it can be called")
        return self._won

    async def _directly(
        self, targets: Sequence[tuple[ID, Multiaddr]], won: trio.CancelScope, failed: trio.Event
    ) -> None:
        async with trio.open_nursery() as nursery:
            for peer, target in targets:
                over = trio.Event()
                nursery.start_soon(self._call, peer, target, won, over)
                with trio.move_on_after(self._ways.tuning.stagger):
                    await over.wait()
        failed.set()

    async def _call(self, peer: ID, target: Multiaddr, won: trio.CancelScope, over: trio.Event) -> None:
        try:
            with trio.fail_after(self._ways.tuning.connect):
                source = self._ways.source()
                connection = await self._ways.swarm.dial_addr(target, peer, source)
            self._win(connection, f"{target}/p2p/{peer}", won)
        except trio.TooSlowError:
            self._errors.append(f"{target}: no answer within {self._ways.tuning.connect:g} s")
        except BaseLibp2pError as error:
            self._errors.append(f"{target}: {_root(error)}")
        over.set()

    async def _through(self, peer: ID, relay: Address, won: trio.CancelScope, over: trio.Event) -> None:
        try:
            with trio.fail_after(2 * self._ways.tuning.connect):
                connection = await self._ways.through(relay, peer)
            self._win(connection, "", won)
        except trio.TooSlowError:
            self._errors.append(f"through {relay}: no answer within {2 * self._ways.tuning.connect:g} s")
        except SourceFailed as failure:
            self._errors.append(f"through {relay}: {failure.detail}")
        except BaseLibp2pError as error:
            self._errors.append(f"through {relay}: {_root(error)}")
        over.set()

    def _win(self, connection: INetConn, where: str, won: trio.CancelScope) -> None:
        if self._won is None:
            self._won, self.worked = connection, where or None
        won.cancel()


def _root(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        error, cause = cause, cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause.__cause__
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
