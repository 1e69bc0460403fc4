"""The messages of circuit relay v2 and DCUtR on a stream: protobuf after its length, bounded."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TypeVar

import trio
from google.protobuf.message import DecodeError, Message
from libp2p.abc import INetStream
from libp2p.exceptions import BaseLibp2pError, ParseError
from libp2p.peer.id import ID
from libp2p.relay.circuit_v2.pb.circuit_pb2 import HopMessage, Limit, PeerId, Reservation, Status, StopMessage
from libp2p.relay.circuit_v2.pb.dcutr_pb2 import HolePunch
from libp2p.utils.varint import encode_varint_prefixed, read_varint_prefixed_bytes_limited

from node.network.channel import ChannelClosed
from node.network.frames import MalformedFrame
from node.network.relay.limits import RelayLimits

HOP_PROTOCOL = "/libp2p/circuit/relay/0.2.0/hop"
STOP_PROTOCOL = "/libp2p/circuit/relay/0.2.0/stop"
PUNCH_PROTOCOL = "/libp2p/dcutr"
MAX_MESSAGE_BYTES = 4096
LINGER_SECONDS = 2.0

M = TypeVar("M", bound=Message)


async def read(stream: INetStream, kind: type[M]) -> M:
    """The next message; raises ChannelClosed, and MalformedFrame where it isn't one."""
    message = kind()
    try:
        raw = await read_varint_prefixed_bytes_limited(stream.muxed_stream, MAX_MESSAGE_BYTES)
        message.ParseFromString(raw)
    except (ParseError, ValueError, DecodeError) as error:
        raise MalformedFrame(f"not a {kind.__name__} ({type(error).__name__})") from None
    except BaseLibp2pError as error:
        raise ChannelClosed("the stream has ended") from error
    return message


async def write(stream: INetStream, message: Message) -> None:
    """Send a message; raises ChannelClosed."""
    try:
        await stream.muxed_stream.write(encode_varint_prefixed(message.SerializeToString()))
    except BaseLibp2pError as error:
        raise ChannelClosed("the stream has ended") from error


async def linger(stream: INetStream) -> None:
    """Let an answer arrive before the stream is reset: the other side hangs up when it has read it."""
    with trio.move_on_after(LINGER_SECONDS), suppress(BaseLibp2pError):
        await stream.muxed_stream.read(1)


def peer_of(message: Any) -> ID:
    """The peer that a message names; raises MalformedFrame where it names none."""
    if not message.HasField("peer"):
        raise MalformedFrame("a relay's message that names no peer")
    return ID(message.peer.id)


def status_name(number: int) -> str:
    """A status code in words, also where it is none."""
    try:
        return str(Status.Name(Status.ValueType(number))).lower().replace("_", " ")
    except ValueError:
        return f"status {number}"


def reserve() -> Message:
    """A request to be kept a place."""
    return HopMessage(type=HopMessage.RESERVE)


def connect(target: ID) -> Message:
    """A request for a circuit to a peer."""
    return HopMessage(type=HopMessage.CONNECT, peer=PeerId(id=target.to_bytes()))


def hop_status(status: Status.ValueType) -> Message:
    """A relay's answer to a request."""
    return HopMessage(type=HopMessage.STATUS, status=status)


def reserved(expires: int, limits: RelayLimits) -> Message:
    """A relay's answer to a reservation that stands until a Unix time."""
    limit = limit_of(limits)
    return HopMessage(type=HopMessage.STATUS, status=Status.OK, reservation=Reservation(expire=expires), limit=limit)


def incoming(caller: ID, limits: RelayLimits) -> Message:
    """What a relay tells the peer that is being called."""
    return StopMessage(type=StopMessage.CONNECT, peer=PeerId(id=caller.to_bytes()), limit=limit_of(limits))


def stop_status(status: Status.ValueType) -> Message:
    """The answer of the peer that is being called."""
    return StopMessage(type=StopMessage.STATUS, status=status)


def limit_of(limits: RelayLimits) -> Limit:
    """What a circuit may carry, as the caller is told."""
    return Limit(duration=int(limits.circuit_seconds), data=limits.circuit_bytes)


def punch(addresses: Sequence[bytes]) -> Message:
    """The addresses at which the sender is seen."""
    return HolePunch(type=HolePunch.CONNECT, ObsAddrs=list(addresses))


def now() -> Message:
    """The signal to dial."""
    return HolePunch(type=HolePunch.SYNC)
