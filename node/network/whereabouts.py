"""Keeping each other informed where sites are, beside the ledger: we tell what changes, and ask for who is lost."""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

import trio
from pydantic import ValidationError

from node.network.bell import Bell, either
from node.network.errands import Errands
from node.network.peer import Peer
from node.network.port import Address
from node.network.pull import SourceFailed
from node.network.tuning import Tuning

logger = logging.getLogger(__name__)

ASKED = 3  # members that are asked where another one is


class Whereabouts:
    """Tells and asks members that are connected."""

    def __init__(
        self,
        errands: Errands,
        peers: Mapping[Address, Peer],
        addresses: Callable[[], list[str]],
        news: Bell,
        tuning: Tuning,
    ) -> None:
        self._errands = errands
        self._peers = peers
        self._addresses = addresses
        self._news = news
        self._tuning = tuning
        self._sought: dict[Address, float] = {}

    async def run(self) -> None:
        """Tell the others when our addresses change: the ledger hears of it later, or can't be reached."""
        told = self._addresses()
        while True:
            await either(self._news.next(), self._tuning.look)
            if (now := self._addresses()) != told:
                told = now
                for address in self._connected():
                    await self.tell(address)

    async def tell(self, address: Address) -> None:
        """Tell a member where we are."""
        with suppress(SourceFailed, KeyError):
            await self._errands.tell(address)

    async def seek(self, address: Address) -> None:
        """Ask members that are connected where one is that can't be reached; not more often than it is worth."""
        now = trio.current_time()
        if now < self._sought.get(address, float("-inf")) + self._tuning.ask:
            return
        self._sought[address] = now
        for other in self._connected()[:ASKED]:
            try:
                found = await self._errands.find(other, [address])
            except (SourceFailed, ValidationError, KeyError) as error:
                logger.info("%s doesn't say where %s is: %s", other, address, error)
                continue
            if (peer := self._peers.get(address)) is not None and found:
                peer.hint(found[address])

    def _connected(self) -> list[Address]:
        return sorted(address for address, peer in self._peers.items() if peer.hello is not None)
