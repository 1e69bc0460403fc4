"""Streams that members open to us: bounded in number, agreed on a protocol, and handed to what serves it."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.protocol_muxer.exceptions import MultiselectError
from libp2p.protocol_muxer.multiselect import Multiselect

from node.network.channel import Channel, ChannelClosed
from node.network.frames import MalformedFrame
from node.network.hardening import BoundedCommunicator
from node.network.notes import Notes
from node.network.peer import Peer
from node.network.peer_id import address_of
from node.network.port import Address, FaultKind
from node.network.pull import Mismatch, SourceFailed
from node.network.server import BLOB_PROTOCOL, CONTROL_PROTOCOL, Server
from node.network.tuning import Tuning

logger = logging.getLogger(__name__)

MAX_STREAMS_PER_PEER = 8
MAX_RELAYED_PER_PEER = 64  # circuits end at a relay and begin there: one stream for each

Handle = Callable[[INetStream, Address], Awaitable[None]]


class Inbound:
    """Serves them. What a peer does, or a handler fails at, must never end the host."""

    def __init__(
        self,
        peers: Mapping[Address, Peer],
        server: Server,
        relaying: Mapping[str, Handle],
        notes: Notes,
        tuning: Tuning,
    ) -> None:
        self._peers = peers
        self._server = server
        self._relaying = relaying
        self._notes = notes
        self._tuning = tuning
        names = (CONTROL_PROTOCOL, BLOB_PROTOCOL, *relaying)
        self._protocols = Multiselect({TProtocol(name): None for name in names})
        self._streams: Counter[Address] = Counter()
        self._relayed: Counter[Address] = Counter()

    async def serve(self, stream: INetStream) -> None:
        """Serve one stream to its end."""
        address = address_of(stream.muxed_conn.peer_id)
        self._streams[address] += 1
        try:
            if address in self._peers and self._streams[address] <= MAX_STREAMS_PER_PEER:
                await self._serve(stream, address)
        except (ChannelClosed, BaseLibp2pError):
            pass  # it has left
        except MalformedFrame as malformed:
            self._notes.caller(address, FaultKind.MALFORMED, str(malformed))
        except SourceFailed as failure:
            self._notes.caller(address, failure.kind, failure.detail)
            if isinstance(failure, Mismatch) and address in self._peers:
                self._peers[address].misfits(failure.theirs)
            if failure.kind is FaultKind.STALLED:
                stream.muxed_conn.cut()  # it would not take a reset
        except Exception:  # one peer, whatever it does to the library, must not end the serving of the others
            logger.exception("serving %s failed", address)
        finally:
            self._streams[address] -= 1
            with trio.CancelScope(shield=True):
                await stream.reset()

    async def _serve(self, stream: INetStream, address: Address) -> None:
        try:
            agreed, _ = await self._protocols.negotiate(BoundedCommunicator(stream), int(self._tuning.connect) or 1)
        except MultiselectError:
            raise MalformedFrame("no protocol agreed on") from None
        protocol, peer = str(agreed), self._peers.get(address)
        if peer is None:
            return
        if protocol in self._relaying:
            await self._serve_relaying(stream, address, self._relaying[protocol])
        else:
            await self._server.serve(Channel(stream, peer.count), protocol, address)

    async def _serve_relaying(self, stream: INetStream, address: Address, handle: Handle) -> None:
        self._relayed[address] += 1
        self._streams[address] -= 1  # it doesn't count among those on which a member asks for something
        try:
            if self._relayed[address] <= MAX_RELAYED_PER_PEER:
                await handle(stream, address)
        finally:
            self._relayed[address] -= 1
            self._streams[address] += 1
