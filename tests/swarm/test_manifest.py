import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.errors import BlobInvalid
from swarm.manifest import CHUNK_ELEMENTS, MAX_MANIFEST_BYTES, BlobKind, Layout, Manifest, TensorShape

LAYOUT = (TensorShape("bias", (3,)), TensorShape("temperature", ()), TensorShape("weight", (3, 2)))
MANIFEST = Manifest(BlobKind.UPDATE, "int32", 24, 4, LAYOUT, (b"\x01" * 32, b"\x02" * 32, b"\x03" * 32))
GOLDEN = (
    '{"chunk_elements":4,"chunks":["' + "01" * 32 + '","' + "02" * 32 + '","' + "03" * 32 + '"],"dtype":"int32",'
    '"kind":"update","scale_bits":24,"tensors":[["bias",[3]],["temperature",[]],["weight",[3,2]]],"version":1}'
).encode()


def _record(**changes: object) -> bytes:
    record = json.loads(GOLDEN) | changes
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode()


def test_golden_bytes_and_identity() -> None:
    assert MANIFEST.encode() == GOLDEN
    assert MANIFEST.blob == hashlib.sha256(GOLDEN).digest()
    assert Manifest.decode(GOLDEN) == MANIFEST


def test_sizes_of_chunks() -> None:
    assert (MANIFEST.elements, MANIFEST.size) == (10, 40)
    assert [MANIFEST.chunk_offset(index) for index in range(3)] == [0, 16, 32]
    assert [MANIFEST.chunk_size(index) for index in range(3)] == [16, 16, 8]
    for index in (-1, 3):
        with pytest.raises(BlobInvalid, match="no chunk"):
            MANIFEST.chunk_size(index)


names = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20)
shapes = st.lists(st.integers(1, 5), max_size=4).map(tuple)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    drawn = draw(st.dictionaries(names, shapes, min_size=1, max_size=5))
    layout: Layout = tuple(TensorShape(name, drawn[name]) for name in sorted(drawn))
    dtype = draw(st.sampled_from(["int16", "int32", "int64", "float32"]))
    size = draw(st.integers(1, 100))
    count = -(-sum(tensor.elements for tensor in layout) // size)
    digests = draw(st.lists(st.binary(min_size=32, max_size=32), min_size=count, max_size=count))
    bits = 0 if dtype == "float32" else draw(st.integers(0, 62))
    return Manifest(draw(st.sampled_from(BlobKind)), dtype, bits, size, layout, tuple(digests))


@settings(deadline=None)
@given(manifests())
def test_round_trip(manifest: Manifest) -> None:
    assert Manifest.decode(manifest.encode()) == manifest
    assert sum(map(manifest.chunk_size, range(len(manifest.chunks)))) == manifest.size


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": True},
        {"version": 1.0},
        {"kind": "picture"},
        {"dtype": "float64"},
        {"dtype": 7},
        {"scale_bits": 63},
        {"scale_bits": -1},
        {"scale_bits": 24.0},
        {"dtype": "float32"},
        {"chunk_elements": 0},
        {"chunk_elements": CHUNK_ELEMENTS + 1},
        {"chunk_elements": 1, "tensors": [["w", [1 << 31]]]},
        {"chunks": []},
        {"chunks": ["00" * 31] * 3},
        {"chunks": ["zz" * 32] * 3},
        {"chunks": [None] * 3},
        {"tensors": []},
        {"tensors": [["w", [10, 0]]]},
        {"tensors": [["w", [-10]]]},
        {"tensors": [["w", [10.0]]]},
        {"tensors": [["w", [True]]]},
        {"tensors": [["w", [1 << 40]]]},
        {"tensors": [["w", [1] * 17]]},
        {"tensors": [["w", [1 << 31] * 16]]},
        {"tensors": [["b", [5]], ["a", [5]]]},
        {"tensors": [["a", [5]], ["a", [5]]]},
        {"tensors": [["", [10]]]},
        {"tensors": [["a\n", [10]]]},
        {"tensors": [["é", [10]]]},
        {"tensors": [["a" * 257, [10]]]},
        {"tensors": [["__metadata__", [10]]]},
        {"tensors": [[7, [10]]]},
        {"tensors": [["a"]]},
        {"tensors": {"a": [10]}},
        {"tensors": None},
        {"extra": 1},
    ],
)
def test_refuses(changes: dict[str, object]) -> None:
    with pytest.raises(BlobInvalid):
        Manifest.decode(_record(**changes))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        GOLDEN + b" ",
        b" " + GOLDEN,
        GOLDEN.replace(b":24", b": 24"),
        GOLDEN.replace(b'"dtype":"int32"', b'"dtype":"int32","dtype":"int32"'),
        GOLDEN.replace(b"bias", b"bi\\u0061s"),
        GOLDEN.replace(b"0101", b"01 01", 1),
        b"[" * 100_000,
        b"9" * 10_000,
        b" " * (MAX_MANIFEST_BYTES + 1),
    ],
)
def test_refuses_what_is_not_the_canonical_form(data: bytes) -> None:
    with pytest.raises(BlobInvalid):
        Manifest.decode(data)


@settings(deadline=None)
@given(
    st.binary(max_size=200)
    | st.integers(0, len(GOLDEN) - 1).flatmap(
        lambda at: st.binary(max_size=3).map(lambda b: GOLDEN[:at] + b + GOLDEN[at + len(b) :])
    )
)
def test_hostile_bytes_give_blob_invalid_or_the_same_bytes_back(data: bytes) -> None:
    try:
        manifest = Manifest.decode(data)
    except BlobInvalid:
        return
    assert manifest.encode() == data
