"""One member as this site sees it: whether and how it is connected, and the channels to it."""

import logging
from collections.abc import Callable, Sequence

import trio
from libp2p.abc import INetConn
from libp2p.peer.id import ID

from node.network.channel import ChannelClosed, Count, ProtocolUnknown, open_channel
from node.network.client import Client
from node.network.dialling import Dialler, Ways
from node.network.port import Address, FaultKind, Hello, OnFault, PeerFault, PeerView
from node.network.pull import Mismatch, SourceFailed
from node.network.relay.circuit import relay_of
from node.network.server import BLOB_PROTOCOL, CONTROL_PROTOCOL

logger = logging.getLogger(__name__)

MOVE_SECONDS = 10.0  # that what is under way on a relayed connection gets when there is a direct one
MOVE_POLL_SECONDS = 0.05


class Peer:
    """Keeps a connection to one member, dials again when it is lost, and moves to a direct one when there is one."""

    def __init__(
        self,
        address: Address,
        ways: Ways,
        hello: Hello,
        *,
        dials_first: bool,
        count: Count,
        note: OnFault,
        changed: Callable[[Address], None],
    ) -> None:
        self.address = address
        self.scope = trio.CancelScope()
        self.dialler = Dialler(address, ways, note)
        self.said: tuple[str, ...] = ()  # the addresses that the member itself told us last
        self.count = count
        self._swarm = ways.swarm
        self._tuning = ways.tuning
        self._hello = hello
        self._dials_first = dials_first
        self._note = note
        self._changed = changed
        self._id: ID | None = None
        self._theirs: Hello | None = None
        self._connection: INetConn | None = None
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

    @property
    def relay(self) -> Address | None:
        """The member that carries the connection that is used; None where it is direct, or there is none."""
        if self.hello is None or self._connection is None:
            return None
        return relay_of(self._connection.muxed_conn)

    @property
    def id(self) -> ID | None:
        """The member's peer ID, where it is known."""
        return self._id or self.dialler.known()

    def view(self) -> PeerView:
        """How things stand with it."""
        if self.hello is not None:
            return PeerView(self.address, True, self.relay, self.hello)
        misfit = self._hello.disagreement(self._theirs) if self._theirs is not None else None
        fault = misfit or (self._failure.detail if self._failure is not None else "not connected yet")
        return PeerView(self.address, False, None, self._theirs, fault)

    def direct(self) -> INetConn | None:
        """A live connection that no relay carries."""
        return self._swarm.direct(self._id) if self._id is not None else None

    def publish(self, addresses: Sequence[str]) -> None:
        """Replace the ledger's addresses to dial; those that aren't this member's are noted and left out."""
        if self.dialler.publish(addresses):
            self._woken.set()

    def hint(self, addresses: Sequence[str]) -> None:
        """Add addresses that peers know."""
        if self.dialler.hint(addresses):
            self._woken.set()

    def misfits(self, theirs: Hello) -> None:
        """It has said hello on a connection of its own, and doesn't fit."""
        self._theirs = theirs

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
                        logger.info("connected to %s%s", self.address, self._how())
                        await self._stay()
                        logger.info("disconnected from %s: %s", self.address, self._control.failure)
                        self._changed(self.address)

    async def control(self) -> Client:
        """The channel for control messages; raises SourceFailed."""
        if self._control is None or self._control.failure is not None:
            await self._attempted()
        if self._control is None or self._control.failure is not None:
            failure = self._failure
            detail = failure.detail if failure else f"not connected within {self._tuning.connect:g} s"
            raise SourceFailed(failure.kind if failure else FaultKind.UNREACHABLE, detail)
        return self._control

    async def errand(self, kind: str, payload: bytes) -> bytes:
        """The answer to a request that may take its time, over a channel of its own; raises SourceFailed."""
        await self.control()
        connection = self._live()
        if connection is None:
            raise _lost()
        client = await self._open(connection, CONTROL_PROTOCOL)
        try:
            return await client.request(kind, payload)
        finally:
            client.retire()

    async def blob(self) -> Client:
        """The channel for blobs, opened when it is first needed; raises SourceFailed."""
        async with self._opening:
            if self._blob is None or self._blob.failure is not None:
                await self.control()
                connection = self._live()
                if connection is None:
                    raise _lost()
                self._blob = await self._open(connection, BLOB_PROTOCOL)
            return self._blob

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
            connection = await self.dialler.dial(self._id)
            self._id = connection.muxed_conn.peer_id
        self._connection = connection
        return await self._open(connection, CONTROL_PROTOCOL)

    async def _stay(self) -> None:
        """Wait for the end of the connection; move to a direct one as soon as there is one."""
        while self._control is not None and self._control.failure is None:
            self._woken = trio.Event()
            direct = self.direct()
            if direct is not None and self.relay is not None and not await self._move(direct):
                await self._pause(self._tuning.retry)
                continue
            async with trio.open_nursery() as nursery:
                for event in (self._control.ended, self._woken):
                    nursery.start_soon(_end_with, event, nursery.cancel_scope)

    async def _move(self, direct: INetConn) -> bool:
        """Use a direct connection from now on; the relayed one ends when nothing is under way on it."""
        try:
            control = await self._open(direct, CONTROL_PROTOCOL)
        except SourceFailed as failure:
            logger.info("the direct connection to %s is of no use: %s", self.address, failure.detail)
            return False
        old = [client for client in (self._control, self._blob) if client is not None]
        if self._connection is not None and self._nursery is not None:
            self._nursery.start_soon(self._retire, self._connection, old)
        self._connection, self._control, self._blob = direct, control, None
        logger.info("connected to %s directly", self.address)
        self._changed(self.address)
        return True

    async def _retire(self, connection: INetConn, clients: Sequence[Client]) -> None:
        with trio.move_on_after(MOVE_SECONDS):
            while not all(client.idle for client in clients):
                await trio.sleep(MOVE_POLL_SECONDS)
        for client in clients:
            client.retire()
        with trio.move_on_after(MOVE_SECONDS):
            while connection.get_streams() and not connection.muxed_conn.event_shutting_down.is_set():
                await trio.sleep(MOVE_POLL_SECONDS)  # the other side moves too
        connection.muxed_conn.cut()

    def _live(self) -> INetConn | None:
        return self._swarm.best(self._id) if self._id is not None else None

    def _how(self) -> str:
        through = f" through {self.relay}" if self.relay is not None else ""
        return f"{through}, which runs {self._theirs.software}" if self._theirs is not None else through

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
        except ProtocolUnknown:
            connection.muxed_conn.cut()
            raise SourceFailed(FaultKind.MISMATCH, self._hello.stranger(protocol)) from None
        except ChannelClosed as closed:
            connection.muxed_conn.cut()
            await self._forgotten()
            raise SourceFailed(FaultKind.UNREACHABLE, f"the connection was lost: {closed}", lost=True) from None
        except trio.TooSlowError:
            connection.muxed_conn.cut()
            raise SourceFailed(FaultKind.STALLED, f"no hello within {self._tuning.connect:g} s") from None
        self._theirs = theirs
        if (why := self._hello.disagreement(theirs)) is not None:
            connection.muxed_conn.cut()
            raise Mismatch(theirs, why)
        return client

    async def _forgotten(self) -> None:
        """Let the control channel of a connection that was just cut come to its end."""
        if self._control is not None:
            with trio.move_on_after(1):
                await self._control.ended.wait()

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
        self._changed(self.address)
        if failure is not None and (before is None or before.kind is not failure.kind):
            self._note(PeerFault(self.address, failure.kind, failure.detail))


async def _end_with(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _lost() -> SourceFailed:
    return SourceFailed(FaultKind.UNREACHABLE, "the connection was lost", lost=True)
