"""The library's swarm (it listens, dials and upgrades connections), with the ends of its connections tidied up.

We use the swarm without the library's host on top: identify, address discovery and the peer store add traffic and
surface, and the ledger says who is where.
"""

import logging
from collections.abc import Callable
from typing import Any

from libp2p.abc import IMuxedConn, INetConn, IRawConnection
from libp2p.crypto.keys import KeyPair
from libp2p.custom_types import TProtocol
from libp2p.network.auto_connector import AutoConnector
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.transport.upgrader import TransportUpgrader
from multiaddr import Multiaddr

from node.network.gate import Gate, GatedNoise
from node.network.muxer import SturdyMuxers, SturdyYamux
from node.network.relay.circuit import relay_of
from node.network.tcp import BufferedTcpTransport
from node.network.tuning import Tuning

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 1024


class NoAutoConnector(AutoConnector):  # type: ignore[misc]
    """The library dials whomever it has heard of while it has fewer connections than it likes; the ledger says whom."""

    async def maybe_connect(self) -> None:
        """Dial nobody."""


class SturdySwarm(Swarm):  # type: ignore[misc]
    """Tells of each connection that is up, and gives back what an inbound one held when it ends."""

    on_connected: Callable[[INetConn], None] = staticmethod(lambda connection: None)

    async def upgrade_inbound_raw_conn(self, raw_conn: IRawConnection, maddr: Multiaddr) -> IMuxedConn:
        """Secure and multiplex an inbound connection, and wait for its end."""
        # The library keeps the place of an inbound connection until the host ends, so after 250 connections, however
        # short, it is deaf. An exception is the one way to make it give the place back.
        muxed = await super().upgrade_inbound_raw_conn(raw_conn, maddr)
        await muxed.event_closed.wait()
        raise SwarmException("the connection has ended")

    async def serve_raw_conn(self, raw_conn: IRawConnection, maddr: Multiaddr) -> None:
        """Play the server on a connection that no listener has brought, until its end."""
        try:
            await self.upgrade_inbound_raw_conn(raw_conn, maddr)
        except SwarmException:
            pass  # its end, or somebody that the gate has turned away
        except Exception:  # as for a listener's connections: one of them must not end the host
            logger.exception("a connection from %s failed", maddr)

    async def notify_connected(self, conn: INetConn) -> None:
        """Called by the library."""
        await super().notify_connected(conn)
        self.on_connected(conn)

    def best(self, peer: ID) -> INetConn | None:
        """The newest live connection to a peer; a direct one rather than a relayed one."""
        return self.direct(peer) or next(reversed(self._alive(peer)), None)

    def direct(self, peer: ID) -> INetConn | None:
        """The newest live connection to a peer that no relay carries."""
        return next((conn for conn in reversed(self._alive(peer)) if relay_of(conn.muxed_conn) is None), None)

    def _alive(self, peer: ID) -> list[INetConn]:
        return [conn for conn in self.get_connections(peer) if not conn.muxed_conn.event_shutting_down.is_set()]


def make_swarm(keys: KeyPair, gate: Gate, tuning: Tuning) -> SturdySwarm:
    """A swarm that speaks Noise and yamux over TCP, and nothing else."""
    # The library's default also accepts plaintext.
    upgrader: Any = TransportUpgrader({NOISE: GatedNoise(keys, gate)}, {TProtocol(YAMUX): SturdyYamux})
    upgrader.muxer_multistream = SturdyMuxers({TProtocol(YAMUX): SturdyYamux})
    upgrader.muxer_multistream.tuning = tuning
    swarm = SturdySwarm(
        ID.from_pubkey(keys.public_key),
        PeerStore(),
        upgrader,
        transports=[BufferedTcpTransport()],
        retry_config=RetryConfig(max_retries=0),
        connection_config=ConnectionConfig(
            max_connections=MAX_CONNECTIONS,
            high_watermark=MAX_CONNECTIONS,
            low_watermark=0,
            min_connections=0,
            max_connections_per_peer=8,
            inbound_upgrade_timeout=tuning.connect,
            outbound_upgrade_timeout=tuning.connect,
        ),
    )
    swarm.auto_connector = NoAutoConnector(swarm)
    return swarm
