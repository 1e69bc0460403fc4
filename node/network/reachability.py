"""Whether the others can dial this site, asked of those that are connected."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import ValidationError

from node.network.bell import Bell, either
from node.network.errands import Errands, Probe
from node.network.peer import Peer
from node.network.port import Address
from node.network.pull import SourceFailed
from node.network.tuning import Tuning

logger = logging.getLogger(__name__)

WITNESSES = 3


class UseRelays(StrEnum):
    """When a site asks relays to take calls for it."""

    AUTO = "auto"  # where a connected member can't dial it
    ALWAYS = "always"
    NEVER = "never"


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
        self.witnesses: list[Witness] = []
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
        return any(not witness.reached for witness in self.witnesses)

    async def run(self) -> None:
        """Ask as soon as somebody is connected, again when that changes, and every now and then."""
        asked: dict[Address, object] = {}
        while True:
            news = self._news.next()
            direct = {address: peer.direct() for address, peer in self._peers.items() if peer.hello is not None}
            fresh = {address for address, conn in direct.items() if conn is not None and address not in asked}
            if self._use is UseRelays.AUTO and fresh and len(self.witnesses) < WITNESSES:
                for address in sorted(fresh)[: WITNESSES - len(self.witnesses)]:
                    asked[address] = True
                    await self._ask(address)
                self._news.ring()
                continue
            await either(news, self._tuning.reachable)

    async def _ask(self, address: Address) -> None:
        witness = await self.ask(address)
        if witness is not None:
            self.witnesses.append(witness)
            logger.info("%s %s dial this site", address, "can" if witness.reached else "can't")

    async def ask(self, address: Address) -> Witness | None:
        """What one member finds when it dials us; None where it can't or won't say."""
        try:
            return Witness(address, await self._errands.dialled_by(address, self._own()))
        except (SourceFailed, ValidationError, KeyError) as error:
            logger.info("%s doesn't say whether it can dial this site: %s", address, error)
            return None
