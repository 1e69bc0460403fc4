"""Members that don't play by the rules: they hold a member's key, and speak whatever a test wants."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import trio
from libp2p.abc import INetConn, INetStream
from libp2p.custom_types import TProtocol
from libp2p.protocol_muxer.exceptions import MultiselectError
from libp2p.protocol_muxer.multiselect import Multiselect
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr
from network_world import HELLO, LISTEN, QUICK, Site, key_of

from node.network.channel import Channel, ChannelClosed, open_channel
from node.network.frames import FrameType, decode_ask, encode_hello, frame
from node.network.gate import Gate
from node.network.hardening import BoundedCommunicator
from node.network.peer_id import address_of, dial_target, key_pair
from node.network.server import BLOB_PROTOCOL, CONTROL_PROTOCOL
from node.network.swarm import SturdySwarm, make_swarm

NUMBER = 50
ANYTHING = 1 << 30

Answer = Callable[[FrameType, bytes], Sequence[bytes] | None]
"""What to send for a frame that came; None for nothing, now and for ever."""


def ignore(sent: int, received: int) -> None:
    pass


@asynccontextmanager
async def swarm_of(number: int = NUMBER, listen: bool = False) -> AsyncIterator[tuple[SturdySwarm, Gate]]:
    gate = Gate()
    swarm = make_swarm(key_pair(key_of(number)), gate, QUICK)
    async with background_trio_service(swarm):
        if listen:
            await swarm.listen(Multiaddr(LISTEN))
        yield swarm, gate
        gate.set_members(())
        await swarm.close()


def address(number: int = NUMBER) -> str:
    from libp2p.peer.id import ID

    return address_of(ID.from_pubkey(key_pair(key_of(number)).public_key))


@asynccontextmanager
async def attacker(victim: Site) -> AsyncIterator[INetConn]:
    """A connection of a member to a running site."""
    async with swarm_of() as (swarm, gate):
        gate.set_members([victim.address])
        victim.network.set_members({address(): []})
        yield await dial(swarm, victim)


async def dial(swarm: SturdySwarm, victim: Site) -> INetConn:
    peer, target = dial_target(victim.address, victim.network.addresses()[0])
    return await swarm.dial_addr(target, peer)


async def greeted(connection: INetConn, protocol: str = BLOB_PROTOCOL) -> Channel:
    """A channel on which hellos have been exchanged."""
    channel = await open_channel(connection, protocol, ignore)
    await channel.send(encode_hello(HELLO))
    kind, _ = await receive(channel)
    assert kind is FrameType.HELLO
    return channel


async def receive(channel: Channel) -> tuple[FrameType, bytes]:
    kind, body = await channel.receive(lambda: ANYTHING, lambda: None)
    return kind, bytes(body)


@asynccontextmanager
async def impostor(victim: Site, answer: Answer) -> AsyncIterator[str]:
    """A member that the victim may ask, and that answers as it likes; gives its address."""

    async def serve(stream: INetStream) -> None:
        protocols = Multiselect({TProtocol(name): None for name in (BLOB_PROTOCOL, CONTROL_PROTOCOL)})
        channel = Channel(stream, ignore)
        with suppress(ChannelClosed, MultiselectError):  # the victim has hung up
            await protocols.negotiate(BoundedCommunicator(stream))
            while True:
                kind, body = await receive(channel)
                if kind is FrameType.HELLO:
                    parts: Sequence[bytes] | None = [encode_hello(HELLO)]
                elif kind is FrameType.ASK and decode_ask(body)[0].startswith("net."):
                    parts = [frame(FrameType.ANSWER)]
                else:
                    parts = answer(kind, body)
                if parts is None:
                    await trio.sleep_forever()
                else:
                    await channel.send(*parts)

    async with swarm_of(listen=True) as (swarm, gate):
        swarm.set_stream_handler(serve)
        gate.set_members([victim.address])
        (listener,) = swarm.listeners.values()
        (bound,) = listener.get_addrs()
        victim.network.set_members({address(): [f"{bound}/p2p/{swarm.get_peer_id()}"]})
        yield address()
