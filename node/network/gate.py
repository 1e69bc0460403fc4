"""The gate: who is on the ledger's member list gets a connection, and nobody else, in either direction.

The check stands inside the security transport: the Noise handshake has just proved the peer's key, and nothing that
the peer sends has been read as anything but that handshake.
"""

from collections import defaultdict
from collections.abc import Iterable
from weakref import WeakSet

from libp2p.abc import IRawConnection, ISecureConn
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair
from libp2p.peer.id import ID
from libp2p.security.exceptions import HandshakeFailure
from libp2p.security.noise.transport import Transport

from node.network.peer_id import address_of
from node.network.port import Address
from node.network.tcp import Pipe

MAX_CONNECTIONS_PER_MEMBER = 4


class Gate:
    """The member list, and the live connections of each member."""

    def __init__(self) -> None:
        self._members: frozenset[Address] = frozenset()
        self._live: defaultdict[Address, WeakSet[Pipe]] = defaultdict(WeakSet)

    def set_members(self, members: Iterable[Address]) -> set[Address]:
        """Replace the list and cut off whoever is no longer on it; gives those."""
        gone = self._members.difference(members)
        self._members = frozenset(members)
        for address in gone:
            self.cut(address)
        return set(gone)

    def admit(self, peer: ID, pipe: Pipe) -> None:
        """Let a proven key in; raises HandshakeFailure where it isn't a member's.

        A member that comes back again and again has lost its earlier connections: the one last heard of longest ago
        makes room.
        """
        try:
            address = address_of(peer)
        except ValueError as error:
            raise HandshakeFailure(str(error)) from None
        if address not in self._members:
            raise HandshakeFailure(f"{address} is not a member")
        live = sorted((one for one in self._live[address] if one.is_open), key=lambda one: one.heard)
        for surplus in live[: max(0, len(live) + 1 - MAX_CONNECTIONS_PER_MEMBER)]:
            surplus.cut()
        self._live[address].add(pipe)

    def cut(self, address: Address) -> None:
        """End every connection of a peer, now."""
        for pipe in list(self._live.pop(address, ())):
            pipe.cut()


class GatedNoise(Transport):  # type: ignore[misc]
    """The library's Noise, behind the gate. The Noise key is new for each process; the host key signs it."""

    def __init__(self, keys: KeyPair, gate: Gate) -> None:
        super().__init__(keys, noise_privkey=create_new_key_pair().private_key)
        self._gate = gate

    async def secure_inbound(self, conn: IRawConnection) -> ISecureConn:
        """Handshake with whoever called us."""
        return self._admit(await super().secure_inbound(conn), conn)

    async def secure_outbound(self, conn: IRawConnection, peer_id: ID) -> ISecureConn:
        """Handshake with the peer that we called."""
        return self._admit(await super().secure_outbound(conn, peer_id), conn)

    def _admit(self, session: ISecureConn, conn: IRawConnection) -> ISecureConn:
        self._gate.admit(session.get_remote_peer(), conn.stream)
        session.pipe = conn.stream
        return session


def pipe_of(session: ISecureConn) -> Pipe:
    """What carries a secured connection."""
    pipe: Pipe = session.pipe
    return pipe
