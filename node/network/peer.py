"""One member as this site sees it: where to dial it, whether it is connected, and the channels to it."""

import logging
from collections.abc import Sequence

import trio
from libp2p.abc import INetConn
from libp2p.exceptions import BaseLibp2pError
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from node.network.channel import ChannelClosed, Count, open_channel
from node.network.client import Client
from node.network.peer_id import dial_target
from node.network.port import Address, FaultKind, Hello, OnFault, PeerFault
from node.network.pull import SourceFailed
from node.network.server import BLOB_PROTOCOL, CONTROL_PROTOCOL
from node.network.swarm import SturdySwarm
from node.network.tuning import Tuning

logger = logging.getLogger(__name__)


class Peer:
    """Keeps a connection to one member, and dials again when it is lost."""

    def __init__(
        self,
        address: Address,
        swarm: SturdySwarm,
        hello: Hello,
        tuning: Tuning,
        *,
        dials_first: bool,
        count: Count,
        note: OnFault,
    ) -> None:
        self.address = address
        self.scope = trio.CancelScope()
        self._swarm = swarm
        self._hello = hello
        self._tuning = tuning
        self._dials_first = dials_first
        self.count = count
        self._note = note
        self._published: tuple[str, ...] = ()
        self._targets: list[tuple[ID, Multiaddr]] = []
        self._id: ID | None = None
        self._theirs: Hello | None = None
        self._control: Client | None = None
        self._blob: Client | None = None
        self._opening = trio.Lock()
        self._wanted = False
        self._woken = trio.Event()
        self._settled = trio.Event()
        self._begun = 0
        self._ended = 0
        self._failure: SourceFailed | None = None
        self._nursery: trio.Nursery | None = None

    @property
    def hello(self) -> Hello | None:
        """What the peer said on the connection that lives, None where none does."""
        return self._theirs if self._control is not None and self._control.failure is None else None

    def publish(self, addresses: Sequence[str]) -> None:
        """Replace the addresses to dial; those that aren't this member's are noted and left out."""
        if tuple(addresses) == self._published:
            return
        self._published = tuple(addresses)
        self._targets = []
        for text in addresses:
            try:
                self._targets.append(dial_target(self.address, text))
            except ValueError as error:
                self._note(PeerFault(self.address, FaultKind.MALFORMED, f"published address: {error}"))
        self._woken.set()

    def arrived(self, peer: ID) -> None:
        """A connection with this member is up."""
        self._id = peer
        self._woken.set()

    async def keep(self) -> None:
        """Stay connected until the scope is cancelled."""
        with self.scope:
            async with trio.open_nursery() as self._nursery:
                delay = self._tuning.retry
                while True:
                    self._woken = trio.Event()  # what wakes us from here on isn't missed
                    self._begun += 1
                    try:
                        self._control = await self._connect_or_say_why()
                    except SourceFailed as failure:
                        self._settle(failure)
                        await self._pause(self._tuning.retry_most if failure.kind is FaultKind.MISMATCH else delay)
                        delay = min(2 * delay, self._tuning.retry_most)
                    else:
                        delay = self._tuning.retry
                        self._settle(None)
                        logger.info(
                            "connected to %s, which runs %s", self.address, self._theirs and self._theirs.software
                        )
                        await self._control.ended.wait()
                        logger.info("disconnected from %s: %s", self.address, self._control.failure)

    async def control(self) -> Client:
        """The channel for control messages; raises SourceFailed."""
        if self._control is None or self._control.failure is not None:
            await self._attempted()
        if self._control is None or self._control.failure is not None:
            failure = self._failure
            detail = failure.detail if failure else f"not connected within {self._tuning.connect:g} s"
            raise SourceFailed(failure.kind if failure else FaultKind.UNREACHABLE, detail)
        return self._control

    async def _attempted(self) -> None:
        """Wait until connected, or until an attempt has failed that knew what is known now."""
        needed = self._begun + 1
        with trio.move_on_after(2 * self._tuning.connect):
            while self.hello is None:
                self._wanted = True
                self._woken.set()
                await self._settled.wait()
                if self._ended >= needed:
                    return

    async def blob(self) -> Client:
        """The channel for blobs, opened when it is first needed; raises SourceFailed."""
        async with self._opening:
            if self._blob is None or self._blob.failure is not None:
                await self.control()
                connection = self._live()
                if connection is None:
                    raise SourceFailed(FaultKind.UNREACHABLE, "the connection was lost", lost=True)
                self._blob = await self._open(connection, BLOB_PROTOCOL)
            return self._blob

    async def _connect_or_say_why(self) -> Client:
        try:
            return await self._connect()
        except SourceFailed:
            raise
        except Exception:
            # One member, whatever it does to the library, must not end the connections to the others.
            logger.exception("connecting to %s failed", self.address)
            raise SourceFailed(FaultKind.UNREACHABLE, "an unexpected error; the log has it") from None

    async def _connect(self) -> Client:
        connection = self._live()
        if connection is None and not self._dials_first and not self._wanted:
            await self._pause(self._tuning.courtesy)
            connection = self._live()
        if connection is None:
            connection = await self._dial()
        return await self._open(connection, CONTROL_PROTOCOL)

    def _live(self) -> INetConn | None:
        return self._swarm.newest(self._id) if self._id is not None else None

    async def _open(self, connection: INetConn, protocol: str) -> Client:
        """Open a channel on a connection and say hello; a connection that doesn't answer is cut."""
        if self._nursery is None:
            raise SourceFailed(FaultKind.UNREACHABLE, "the network isn't running")
        try:
            with trio.fail_after(self._tuning.connect):
                channel = await open_channel(connection, protocol, self.count)
                if protocol == BLOB_PROTOCOL:
                    await channel.widen()
                client = Client(channel, self._tuning.stall)
                self._nursery.start_soon(client.run)
                theirs = await client.hello(self._hello)
        except ChannelClosed as closed:
            connection.muxed_conn.cut()
            await self._forgotten()
            raise SourceFailed(FaultKind.UNREACHABLE, f"the connection was lost: {closed}", lost=True) from None
        except trio.TooSlowError:
            connection.muxed_conn.cut()
            raise SourceFailed(FaultKind.STALLED, f"no hello within {self._tuning.connect:g} s") from None
        if (why := self._hello.disagreement(theirs)) is not None:
            connection.muxed_conn.cut()
            raise SourceFailed(FaultKind.MISMATCH, why)
        self._theirs = theirs
        return client

    async def _forgotten(self) -> None:
        """Let the control channel of a connection that was just cut come to its end."""
        if self._control is not None:
            with trio.move_on_after(1):
                await self._control.ended.wait()

    async def _dial(self) -> INetConn:
        """Try the published addresses, each a little after the one before; the first to answer wins."""
        if not self._targets:
            raise SourceFailed(FaultKind.UNREACHABLE, "it has published no address to dial, and has not called")
        won: list[INetConn] = []
        errors: list[str] = []

        async def attempt(peer: ID, target: Multiaddr, over: trio.Event) -> None:
            try:
                with trio.fail_after(self._tuning.connect):
                    won.append(await self._swarm.dial_addr(target, peer))
                self._id = peer
                nursery.cancel_scope.cancel()
            except trio.TooSlowError:
                errors.append(f"{target}: no answer within {self._tuning.connect:g} s")
            except BaseLibp2pError as error:
                errors.append(f"{target}: {_root(error)}")
            over.set()

        async with trio.open_nursery() as nursery:
            for peer, target in self._targets:
                over = trio.Event()
                nursery.start_soon(attempt, peer, target, over)
                with trio.move_on_after(self._tuning.stagger):
                    await over.wait()
        if not won:
            raise SourceFailed(FaultKind.UNREACHABLE, "; ".join(errors))
        return won[0]

    async def _pause(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self._woken.wait()

    def _settle(self, failure: SourceFailed | None) -> None:
        """Tell who waits for a connection how the attempt ended, and note a failure that is news."""
        before, self._failure = self._failure, failure
        self._ended = self._begun
        self._wanted = False
        self._settled.set()
        self._settled = trio.Event()
        if failure is not None and (before is None or before.kind is not failure.kind):
            self._note(PeerFault(self.address, failure.kind, failure.detail))


def _root(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__
