"""A site that can't be dialled keeps a place at two relays, so that it can be called when one of them dies."""

import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import trio
from libp2p.abc import INetConn
from libp2p.peer.id import ID

from node.network.bell import Bell, either
from node.network.peer import Peer
from node.network.peer_id import circuit_address
from node.network.port import Address
from node.network.pull import SourceFailed
from node.network.relay import client
from node.network.tuning import Tuning

logger = logging.getLogger(__name__)

PLACES = 2
RENEW_SECONDS = 300.0  # or at half of a reservation's time, where that is sooner
GRACE_SECONDS = 60.0  # that a relay which is away keeps its place, before another one is given it
REFUSED_SECONDS = 30.0  # before a relay that has refused is asked again


@dataclass(slots=True)
class _Place:
    """A reservation: on which connection, when to renew it, and since when the relay has been away."""

    relay: ID
    connection: INetConn
    renew_at: float
    away_since: float | None = None


class Reservations:
    """Keeps them while they are needed; `addresses` are those that they make."""

    def __init__(
        self,
        me: ID,
        peers: Mapping[Address, Peer],
        needed: Callable[[], bool],
        prepare: Callable[[Address], Awaitable[None]],
        news: Bell,
        tuning: Tuning,
    ) -> None:
        self._me = me
        self._peers = peers
        self._needed = needed
        self._prepare = prepare
        self._news = news
        self._tuning = tuning
        self._places: dict[Address, _Place] = {}
        self._refused: dict[Address, float] = {}

    def addresses(self) -> list[str]:
        """The multiaddrs at which relays take calls for us."""
        return [circuit_address(place.relay, self._me) for _, place in sorted(self._places.items())]

    def held(self, relay: Address) -> bool:
        """Whether we have asked this member to take calls for us."""
        return relay in self._places

    def relays(self) -> list[Address]:
        """Members that are directly connected and relay, in an order of this site's own: so they share the load."""
        offers = [
            address
            for address, peer in self._peers.items()
            if peer.hello is not None and peer.hello.relays and peer.direct() is not None
        ]
        return sorted(offers, key=lambda address: hashlib.sha256(f"{self._me} {address}".encode()).digest())

    async def run(self) -> None:
        """Keep them for ever."""
        while True:
            news = self._news.next()
            if self._needed():
                await self._keep()
            else:
                self._places.clear()
            await either(news, self._tuning.look)

    async def _keep(self) -> None:
        now = trio.current_time()
        relays = self.relays()
        for address, place in list(self._places.items()):
            if address not in self._peers:
                del self._places[address]
            elif address in relays:
                place.away_since = None
                peer = self._peers[address]
                if now >= place.renew_at or place.connection is not peer.direct():
                    await self._reserve(address)
            else:
                place.away_since = place.away_since or now
        for address in relays:
            if len(self._present()) >= PLACES or len(self._places) >= 2 * PLACES:
                break
            if address not in self._places and now >= self._refused.get(address, 0.0):
                await self._reserve(address)
        self._forget(now)

    def _present(self) -> list[Address]:
        return [address for address, place in self._places.items() if place.away_since is None]

    def _forget(self, now: float) -> None:
        """Give up relays that have been away for long, where another one is there: their addresses help nobody."""
        for address, place in list(self._places.items()):
            if place.away_since is not None and now - place.away_since > GRACE_SECONDS and self._present():
                del self._places[address]

    async def _reserve(self, address: Address) -> None:
        try:
            await self._prepare(address)
            connection = self._peers[address].direct()
            if connection is None:
                return
            with trio.fail_after(self._tuning.connect):
                seconds = await client.reserve(connection)
        except (SourceFailed, trio.TooSlowError) as failure:
            logger.info("%s takes no calls for us: %s", address, failure)
            if self._places.pop(address, None) is not None:
                self._news.ring()
            self._refused[address] = trio.current_time() + REFUSED_SECONDS
            return
        if address not in self._places:
            logger.info("%s takes calls for us", address)
            self._news.ring()
        renew = trio.current_time() + min(RENEW_SECONDS, seconds / 2)
        self._places[address] = _Place(connection.muxed_conn.peer_id, connection, renew)
