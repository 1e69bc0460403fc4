"""Frames: whatever is encoded is decoded, and whatever comes is decoded or refused, never anything else."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.network.frames import (
    ASK_BYTES,
    BLOB_REQUEST_BYTES,
    DESCRIBED_BYTES,
    HEADER,
    HELLO_BYTES,
    REFUSED_BYTES,
    FrameType,
    MalformedFrame,
    decode_ask,
    decode_chunk,
    decode_describe,
    decode_described,
    decode_hello,
    decode_refused,
    encode_ask,
    encode_chunk,
    encode_describe,
    encode_described,
    encode_hello,
    encode_refused,
    frame,
)
from node.network.port import MAX_REQUEST_BYTES, FaultKind, Hello
from swarm.manifest import MAX_MANIFEST_BYTES

VERSIONS = st.lists(st.integers(0, (1 << 16) - 1), min_size=2, max_size=2)
BLOBS = st.binary(min_size=32, max_size=32)
CHAINS = st.integers(min_value=0, max_value=(1 << 64) - 1)
CONTRACTS = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
PRINTABLE = st.characters(codec="utf-8").filter(str.isprintable)
REASONS = st.sampled_from([FaultKind.REFUSED, FaultKind.MISSING, FaultKind.MALFORMED, FaultKind.MISMATCH])


def opened(encoded: bytes, kind: FrameType, limit: int) -> memoryview:
    size, number = HEADER.unpack_from(encoded)
    assert (number, size) == (kind, len(encoded) - HEADER.size)
    assert size <= limit
    return memoryview(encoded)[HEADER.size :]


@given(CHAINS, CONTRACTS, st.text(PRINTABLE, max_size=24), VERSIONS, st.booleans(), st.binary(max_size=99))
def test_hello(
    chain_id: int, contract: str, software: str, versions: list[int], relays: bool, of_a_later_version: bytes
) -> None:
    oldest, protocol = sorted(versions)
    hello = Hello(chain_id, contract, software, protocol, oldest, relays)
    body = opened(encode_hello(hello), FrameType.HELLO, HELLO_BYTES)
    assert decode_hello(bytes(body) + of_a_later_version) == hello


@given(BLOBS)
def test_describe(blob: bytes) -> None:
    assert decode_describe(opened(encode_describe(blob), FrameType.DESCRIBE, BLOB_REQUEST_BYTES)) == blob


@given(BLOBS, st.integers(min_value=0, max_value=(1 << 32) - 1))
def test_chunk(blob: bytes, index: int) -> None:
    assert decode_chunk(opened(encode_chunk(blob, index), FrameType.CHUNK, BLOB_REQUEST_BYTES)) == (blob, index)


@given(st.binary(max_size=300), st.none() | st.binary(max_size=300))
def test_described(manifest: bytes, inline: bytes | None) -> None:
    body = opened(encode_described(manifest, inline), FrameType.DESCRIBED, DESCRIBED_BYTES)
    assert decode_described(body) == (manifest, inline)


def test_the_largest_description_fits() -> None:
    manifest, inline = bytes(MAX_MANIFEST_BYTES), bytes(1 << 16)
    body = opened(encode_described(manifest, inline), FrameType.DESCRIBED, DESCRIBED_BYTES)
    assert decode_described(body) == (manifest, inline)


@given(REASONS, st.text(max_size=1000))
def test_refused(kind: FaultKind, sentence: str) -> None:
    refused = decode_refused(opened(encode_refused(kind, sentence), FrameType.REFUSED, REFUSED_BYTES))
    assert refused.kind is kind
    assert refused.sentence.isprintable()
    assert len(refused.sentence) == len(sentence) or len(refused.sentence.encode()) > REFUSED_BYTES - 8


@given(st.text(PRINTABLE, min_size=1, max_size=60), st.binary(max_size=300))
def test_ask(kind: str, payload: bytes) -> None:
    assert decode_ask(opened(encode_ask(kind, payload), FrameType.ASK, ASK_BYTES)) == (kind, payload)


def test_the_largest_message_fits() -> None:
    payload = bytes(MAX_REQUEST_BYTES)
    assert decode_ask(opened(encode_ask("k" * 255, payload), FrameType.ASK, ASK_BYTES)) == ("k" * 255, payload)


@pytest.mark.parametrize(("kind", "size"), [("", 0), ("k" * 256, 0), ("k", MAX_REQUEST_BYTES + 1), ("\n", 0)])
def test_a_message_that_would_not_fit_is_not_made(kind: str, size: int) -> None:
    with pytest.raises(ValueError, match="at most"):
        encode_ask(kind, bytes(size))


@pytest.mark.parametrize(
    "hello",
    [
        Hello(-1, "0x" + "11" * 20, ""),
        Hello(1 << 64, "0x" + "11" * 20, ""),
        Hello(1, "0x11", ""),
        Hello(1, "zz", ""),
        Hello(1, "0x" + "11" * 20, "x" * 101),
        Hello(1, "0x" + "11" * 20, "two\nlines"),
        Hello(1, "0x" + "11" * 20, "", protocol=1, oldest=2),
        Hello(1, "0x" + "11" * 20, "", protocol=1 << 16),
    ],
)
def test_a_hello_that_would_not_fit_is_not_made(hello: Hello) -> None:
    with pytest.raises(ValueError, match=r"said to a peer|hexadecimal"):
        encode_hello(hello)


@pytest.mark.parametrize(
    "decode", [decode_hello, decode_describe, decode_chunk, decode_described, decode_refused, decode_ask]
)
@given(body=st.binary(max_size=200))
def test_anything_is_decoded_or_refused(decode: Callable[[bytes], object], body: bytes) -> None:
    with suppress(MalformedFrame):
        decode(body)


def test_the_bytes_on_the_wire_do_not_change() -> None:
    blob = bytes(range(32))
    assert (
        encode_hello(Hello(31337, "0x" + "ab" * 20, "s", 2, 1, True)).hex()
        == "0000002301" + "00020001" + "0000000000007a69" + "ab" * 20 + "0101" + "73"
    )
    assert encode_describe(blob) == bytes.fromhex("0000002003") + blob
    assert encode_chunk(blob, 258) == bytes.fromhex("0000002405") + blob + bytes.fromhex("00000102")
    assert encode_described(b"m", b"v").hex() == "0000000704" + "0100000001" + "6d76"
    assert encode_refused(FaultKind.MISSING, "no").hex() == "0000000302" + "01" + "6e6f"
    assert encode_ask("k", b"p").hex() == "0000000307" + "01" + "6b70"
    assert frame(FrameType.DATA, size=9).hex() == "0000000906"
