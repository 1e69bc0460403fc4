"""Frames: what travels on a stream. Four bytes of length, one of type, then the body; sizes are bounded by the reader.

    asker                            server
    Hello                        ->
                                 <-  Hello, and the end where the two don't agree
    Describe(blob)               ->
                                 <-  Described(manifest, the vector where it is small), or Refused
    Chunk(blob, index)           ->
                                 <-  Data, or Refused
    Ask(kind, payload)           ->
                                 <-  Answer, or Refused

A Hello begins with the protocol that its sender speaks and the oldest that it understands. No later version may change
that, nor the fields that follow it today, so that any two versions can tell each other what they run; a later version
may add bytes at the end, which an earlier one doesn't read.

A stream carries the requests of the side that opened it, and their answers in order; several may be under way.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

from node.network.port import MAX_REQUEST_BYTES, FaultKind, Hello
from swarm.manifest import MAX_MANIFEST_BYTES

HEADER = struct.Struct("!IB")
HELLO_BYTES = 256  # the largest body of a Hello
SOFTWARE_BYTES = 100
ASK_BYTES = MAX_REQUEST_BYTES + 256  # the largest body of a request on the control stream
BLOB_REQUEST_BYTES = 36  # the largest body of a request on the blob stream
INLINE_BYTES = 1 << 16  # a vector of at most this size comes with its manifest
DESCRIBED_BYTES = 5 + MAX_MANIFEST_BYTES + INLINE_BYTES
REFUSED_BYTES = 512

_HELLO = struct.Struct("!HHQ20sBB")
_RELAYS = 1  # a flag in the hello
_CHUNK = struct.Struct("!32sI")
_DESCRIBED = struct.Struct("!?I")
_REASONS = (FaultKind.REFUSED, FaultKind.MISSING, FaultKind.MALFORMED, FaultKind.MISMATCH)


class MalformedFrame(ValueError):
    """Bytes that break the protocol."""


class FrameType(IntEnum):
    """The byte that says what a frame is."""

    HELLO = 1
    REFUSED = 2
    DESCRIBE = 3
    DESCRIBED = 4
    CHUNK = 5
    DATA = 6
    ASK = 7
    ANSWER = 8


@dataclass(frozen=True, slots=True)
class Refused:
    """The other side won't answer, and says why."""

    kind: FaultKind
    sentence: str


def frame(kind: FrameType, *body: bytes | memoryview, size: int = 0) -> bytes:
    """One frame; or its header alone, where a body of `size` bytes is sent after it."""
    return b"".join((HEADER.pack(size + sum(map(len, body)), kind), *body))


def encode_hello(hello: Hello) -> bytes:
    """A Hello frame; raises ValueError where a version, the chain, the contract or the software name isn't one."""
    contract = bytes.fromhex(hello.contract.removeprefix("0x"))
    software = hello.software.encode()
    versions = 0 <= hello.oldest <= hello.protocol < 1 << 16
    fits = len(contract) == 20 and 0 <= hello.chain_id < 1 << 64 and len(software) <= SOFTWARE_BYTES
    if not versions or not fits or not hello.software.isprintable():
        raise ValueError(f"{hello} can't be said to a peer")
    flags = _RELAYS if hello.relays else 0
    fields = (hello.protocol, hello.oldest, hello.chain_id, contract, flags, len(software))
    return frame(FrameType.HELLO, _HELLO.pack(*fields), software)


def decode_hello(body: bytes | memoryview) -> Hello:
    """What `encode_hello` wrote; the contract in lower case, and without what a later version has added."""
    if len(body) < _HELLO.size:
        raise MalformedFrame("a hello that is too short")
    protocol, oldest, chain_id, contract, flags, length = _HELLO.unpack_from(body)
    software = body[_HELLO.size : _HELLO.size + length]
    if len(software) < length:
        raise MalformedFrame("a hello that is too short")
    relays = bool(flags & _RELAYS)
    return Hello(chain_id, "0x" + contract.hex(), _text(software), protocol, oldest, relays)


def encode_refused(kind: FaultKind, sentence: str) -> bytes:
    """A Refused frame; the sentence is cut to fit, and a character that can't be printed becomes a question mark."""
    printable = "".join(character if character.isprintable() else "?" for character in sentence)
    text = printable.encode()[: REFUSED_BYTES - 1].decode(errors="ignore").encode()
    return frame(FrameType.REFUSED, bytes([_REASONS.index(kind)]), text)


def decode_refused(body: bytes | memoryview) -> Refused:
    """What `encode_refused` wrote."""
    if not 1 <= len(body) <= REFUSED_BYTES or body[0] >= len(_REASONS):
        raise MalformedFrame("a refusal without a known reason")
    return Refused(_REASONS[body[0]], _text(body[1:]))


def encode_describe(blob: bytes) -> bytes:
    """A request for a blob's manifest."""
    return frame(FrameType.DESCRIBE, blob)


def decode_describe(body: bytes | memoryview) -> bytes:
    """The blob that is asked for."""
    if len(body) != 32:
        raise MalformedFrame(f"a blob's name of {len(body)} bytes")
    return bytes(body)


def encode_chunk(blob: bytes, index: int) -> bytes:
    """A request for one chunk."""
    return frame(FrameType.CHUNK, _CHUNK.pack(blob, index))


def decode_chunk(body: bytes | memoryview) -> tuple[bytes, int]:
    """The blob and the index that are asked for."""
    if len(body) != _CHUNK.size:
        raise MalformedFrame(f"a chunk request of {len(body)} bytes")
    blob, index = _CHUNK.unpack(body)
    return blob, index


def encode_described(manifest: bytes, inline: bytes | None) -> bytes:
    """A manifest, with the whole vector where that is small."""
    return frame(
        FrameType.DESCRIBED, _DESCRIBED.pack(inline is not None, len(manifest)), manifest, inline if inline else b""
    )


def decode_described(body: bytes | memoryview) -> tuple[bytes, bytes | None]:
    """The manifest and the vector, both unverified; no vector where only the manifest came."""
    if len(body) < _DESCRIBED.size:
        raise MalformedFrame("a description that is too short")
    has_inline, size = _DESCRIBED.unpack_from(body)
    rest = bytes(body[_DESCRIBED.size :])
    if size > len(rest) or (not has_inline and size != len(rest)):
        raise MalformedFrame("a description whose lengths don't add up")
    return rest[:size], rest[size:] if has_inline else None


def encode_ask(kind: str, payload: bytes) -> bytes:
    """A control message; raises ValueError where it is too large."""
    name = kind.encode()
    if len(payload) > MAX_REQUEST_BYTES or not 0 < len(name) < 256 or not kind.isprintable():
        raise ValueError(f"a control message {kind!r} of {len(payload)} bytes, at most {MAX_REQUEST_BYTES} are allowed")
    return frame(FrameType.ASK, bytes([len(name)]), name, payload)


def decode_ask(body: bytes | memoryview) -> tuple[str, bytes]:
    """Kind and payload of a control message."""
    if not len(body) or len(body) < 1 + body[0] or len(body) - 1 - body[0] > MAX_REQUEST_BYTES:
        raise MalformedFrame("a control message whose lengths don't add up")
    return _text(body[1 : 1 + body[0]]), bytes(body[1 + body[0] :])


def _text(raw: bytes | memoryview) -> str:
    """Text that may go into a log and onto a terminal."""
    try:
        text = bytes(raw).decode()
    except UnicodeDecodeError:
        raise MalformedFrame("text that isn't UTF-8") from None
    if not text.isprintable():
        raise MalformedFrame("text with control characters")
    return text
