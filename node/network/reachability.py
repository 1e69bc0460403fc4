"""Whether the others can dial this site, asked of those that are connected."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import trio
from pydantic import ValidationError

from node.network.bell import Bell, either
from node.network.errands import Errands, Probe
from node.network.peer import Peer
from node.network.port import Address
from node.network.pull import SourceFailed
from node.network.relay.limits import UseRelays
from node.network.tuning import Tuning

logger = logging.getLogger(__name__)

WITNESSES = 3


@dataclass(frozen=True, slots=True)
class Witness:
    """What one member found at our addresses."""

    address: Address
    probes: dict[str, Probe]

    @property
    def reached(self) -> bool:
        """Whether it could dial us at one of them."""
        return Probe.REACHED in self.probes.values()


class Reachability:
    """Asks now and then; `hidden` is the verdict, None before there is one."""

    def __init__(
        self,
        errands: Errands,
        peers: Mapping[Address, Peer],
        own: Callable[[], list[str]],
        use: UseRelays,
        news: Bell,
        tuning: Tuning,
    ) -> None:
        self.witnesses: dict[Address, Witness] = {}
        self._errands = errands
        self._peers = peers
        self._own = own
        self._use = use
        self._news = news
        self._tuning = tuning

    @property
    def hidden(self) -> bool:
        """Whether relays are needed: a member that we reached could not dial us, or the operator says so."""
        if self._use is not UseRelays.AUTO:
            return self._use is UseRelays.ALWAYS
        return any(not one.reached for address, one in self.witnesses.items() if address in self._peers)

    async def run(self) -> None:
        """Ask as soon as somebody is connected, when our addresses change, and every now and then."""
        if self._use is not UseRelays.AUTO:
            return
        asked: dict[Address, float] = {}
        told = self._own()
        while True:
            news = self._news.next()
            if (now := self._own()) != told:
                told = now
                asked.clear()
            for address in self._due(asked):
                asked[address] = trio.current_time()
                await self._hear(address)
            await either(news, self._tuning.look)

    def _due(self, asked: Mapping[Address, float]) -> list[Address]:
        """Of the few members that are asked at all, those that haven't been for a while; the silent ones last."""
        direct = [address for address, peer in self._peers.items() if peer.hello is not None and peer.direct()]
        few = sorted(direct, key=lambda address: (address in asked and address not in self.witnesses, address))
        before = trio.current_time() - self._tuning.reachable
        return [address for address in few[:WITNESSES] if asked.get(address, float("-inf")) <= before]

    async def _hear(self, address: Address) -> None:
        witness = await self.ask(address)
        if witness is not None and self.witnesses.get(address) != witness:
            self.witnesses[address] = witness
            logger.info("%s %s dial this site", address, "can" if witness.reached else "can't")
            self._news.ring()

    async def ask(self, address: Address) -> Witness | None:
        """What one member finds when it dials us; None where it can't or won't say."""
        try:
            return Witness(address, await self._errands.dialled_by(address, self._own()))
        except (SourceFailed, ValidationError, KeyError) as error:
            logger.info("%s doesn't say whether it can dial this site: %s", address, error)
            return None
