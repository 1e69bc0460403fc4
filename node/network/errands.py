"""What connected members do for each other: say where they are seen, where others are, and whether they can be dialled.

Control messages like any other, so they come from members alone, are bounded, and are answered one at a time. What a
member says here is a hint and never more: an address that it gives is dialled by whoever needs it, and the Noise
handshake decides. It makes this site dial for it only where it already is, or where the ledger says that it is, so
that nobody can have others scanned.
"""

import logging
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated

import trio
from libp2p.abc import IRawConnection
from libp2p.exceptions import BaseLibp2pError
from libp2p.peer.id import ID
from multiaddr import Multiaddr
from pydantic import Field, TypeAdapter

from node.network.peer import Peer
from node.network.peer_id import MAX_MULTIADDR, circuit_address, route, tcp_address
from node.network.port import Address, Handler
from node.network.relay.circuit import relay_of
from node.network.relay.service import Relay
from node.network.swarm import SturdySwarm

logger = logging.getLogger(__name__)

SEEN, HERE, WHERE, DIAL_BACK = "net.seen", "net.here", "net.where", "net.dial-back"
MAX_ADDRESSES = 16  # as on the ledger
MAX_WANTED = 16
MAX_PROBES = 4  # addresses that are dialled for one question
PROBE_SECONDS = 2.0  # for each; all of them fit into the time that an answer may take
PROBES_PER_MINUTE = 12  # questions of one member

Text = Annotated[str, Field(max_length=MAX_MULTIADDR)]
_addresses: TypeAdapter[list[str]] = TypeAdapter(Annotated[list[Text], Field(max_length=MAX_ADDRESSES)])
_probes: TypeAdapter[list[str]] = TypeAdapter(Annotated[list[Text], Field(max_length=MAX_PROBES)])
_wanted: TypeAdapter[list[str]] = TypeAdapter(Annotated[list[Text], Field(max_length=MAX_WANTED)])
_found: TypeAdapter[dict[str, list[str]]] = TypeAdapter(
    Annotated[dict[Text, Annotated[list[Text], Field(max_length=MAX_ADDRESSES)]], Field(max_length=MAX_WANTED)]
)


class Probe(StrEnum):
    """What a member found at an address that it dialled for another one."""

    REACHED = "reached"  # and the asker's key was proven there
    UNREACHED = "unreached"
    STRANGER = "stranger"  # something answers, which isn't the asker
    NOT_TRIED = "not tried"  # it is neither where the asker is seen, nor on the ledger


_verdicts: TypeAdapter[dict[str, Probe]] = TypeAdapter(dict[Text, Probe])


class Errands:
    """Both sides: `handlers` answer, the methods ask. Asking raises SourceFailed, and ValueError for nonsense."""

    def __init__(
        self,
        peers: Mapping[Address, Peer],
        swarm: SturdySwarm,
        relay: Relay | None,
        addresses: Callable[[], list[str]],
    ) -> None:
        self._peers = peers
        self._swarm = swarm
        self._relay = relay
        self._mine = addresses
        self._probed: defaultdict[Address, deque[float]] = defaultdict(deque)

    def handlers(self) -> dict[str, Handler]:
        """What answers them."""
        return {SEEN: self._seen, HERE: self._here, WHERE: self._where, DIAL_BACK: self._dial_back}

    async def seen_by(self, peer: Address) -> list[str]:
        """The addresses from which a member sees us connected."""
        return _addresses.validate_json(await self._ask(peer, SEEN, b""))

    async def tell(self, peer: Address) -> None:
        """Tell a member where we can be dialled, in case that the ledger doesn't say so (yet)."""
        await self._ask(peer, HERE, _addresses.dump_json(self._mine()[:MAX_ADDRESSES]))

    async def find(self, peer: Address, wanted: Sequence[Address]) -> dict[Address, list[str]]:
        """Where a member knows others to be."""
        asked = list(wanted)[:MAX_WANTED]
        answer = _found.validate_json(await self._ask(peer, WHERE, _wanted.dump_json(asked)))
        return {address: found for address, found in answer.items() if address in asked}

    async def dialled_by(self, peer: Address, addresses: Sequence[str]) -> dict[str, Probe]:
        """What a member finds when it dials addresses of ours."""
        found: dict[str, Probe] = {}
        for start in range(0, len(addresses), MAX_PROBES):
            some = list(addresses[start : start + MAX_PROBES])
            answer = await self._peers[peer].errand(DIAL_BACK, _probes.dump_json(some))
            found |= {text: probe for text, probe in _verdicts.validate_json(answer).items() if text in some}
        return found

    async def _ask(self, peer: Address, kind: str, payload: bytes) -> bytes:
        control = await self._peers[peer].control()
        return await control.request(kind, payload)

    async def _seen(self, asker: Address, payload: bytes) -> bytes:
        return _addresses.dump_json([tcp_address(end) for end in self._endpoints(asker)][:MAX_ADDRESSES])

    async def _here(self, asker: Address, payload: bytes) -> bytes:
        said = []
        for text in _addresses.validate_json(payload):
            route(asker, text)
            said.append(text)
        self._peers[asker].said = tuple(said)
        self._peers[asker].hint(said)
        return b""

    async def _where(self, asker: Address, payload: bytes) -> bytes:
        known = {address: self._known(address) for address in _wanted.validate_json(payload) if address != asker}
        return _found.dump_json({address: places for address, places in known.items() if places})

    def _known(self, address: Address) -> list[str]:
        """Where a member that is connected now was dialled, and what it says of itself."""
        peer = self._peers.get(address)
        if peer is None or peer.hello is None or peer.id is None:
            return []
        places = [peer.dialler.worked] if peer.dialler.worked else []
        if self._relay is not None and address in self._relay.reservations():
            places.append(circuit_address(self._swarm.get_peer_id(), peer.id))
        return list(dict.fromkeys([*places, *peer.said]))[:MAX_ADDRESSES]

    def _endpoints(self, address: Address) -> list[tuple[str, int]]:
        """The other ends of our direct connections with a member, newest first."""
        peer = self._peers[address].id
        connections = [conn.muxed_conn for conn in self._swarm.get_connections(peer)] if peer is not None else []
        ends = [conn.get_remote_address() for conn in reversed(connections) if relay_of(conn) is None]
        return [end for end in ends if end is not None]

    async def _dial_back(self, asker: Address, payload: bytes) -> bytes:
        now, asked = trio.current_time(), self._probed[asker]
        while asked and asked[0] < now - 60:
            asked.popleft()
        if len(asked) >= PROBES_PER_MINUTE:
            raise ValueError("asked too often")
        asked.append(now)
        texts = _probes.validate_json(payload)
        return _verdicts.dump_json({text: await self._probe(asker, text) for text in dict.fromkeys(texts)})

    async def _probe(self, asker: Address, text: str) -> Probe:
        way = route(asker, text)
        seen = {end[0] for end in self._endpoints(asker)}
        if way.target is None or (_host(way.target) not in seen and text not in self._peers[asker].dialler.published):
            return Probe.NOT_TRIED
        raw = None
        try:
            with trio.fail_after(PROBE_SECONDS):
                raw = await self._swarm.transport_manager.transport_for_dialing(way.target).dial(way.target)
                return await self._proven(raw, way.peer)
        except (trio.TooSlowError, BaseLibp2pError):
            return Probe.STRANGER if raw is not None else Probe.UNREACHED
        finally:
            if raw is not None:
                raw.stream.cut()

    async def _proven(self, raw: IRawConnection, peer: ID) -> Probe:
        await self._swarm.upgrader.upgrade_security(raw, True, peer)
        return Probe.REACHED


def _host(target: Multiaddr) -> str:
    return next((str(value) for protocol, value in target.items() if protocol.name in ("ip4", "ip6")), "")
