"""Model files and what each one's hash is, or that it is none: read by the Python program and by the browser's."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

VECTORS = Path(__file__).with_name("model_vectors.json")


def header_of(record: Any) -> bytes:
    text = record if isinstance(record, bytes) else json.dumps(record, separators=(",", ":")).encode()
    return len(text).to_bytes(8, "little") + text


def entry(begin: int, end: int, *shape: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def floats(*values: float) -> bytes:
    return np.array(values, "<f4").tobytes()


def files() -> dict[str, bytes]:
    """Files of every kind that matters: canonical, others' spelling of the same, and all that is refused."""
    two = {"a": entry(0, 8, 2), "b": entry(8, 12)}
    data = floats(1.5, -2.0, 3.25)
    twice = (
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    )
    inner = b'{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    one = floats(1)
    return {
        "two tensors": header_of(two) + data,
        "a scalar": header_of({"x": entry(0, 4)}) + one,
        "padded header": header_of(json.dumps(two).encode() + b"   ") + data,
        "metadata": header_of({"__metadata__": {"format": "pt"}, **two}) + data,
        "stored out of order": header_of({"b": entry(0, 4), "a": entry(4, 12, 2)}) + floats(3.25, 1.5, -2.0),
        "names sort by code": header_of({"Z": entry(0, 4, 1), "a": entry(4, 8, 1), "_": entry(8, 12, 1)}) + data,
        "a quote and a backslash": header_of({'a"\\:b': entry(0, 4, 1)}) + one,
        "escaped name": header_of(b'{"\\u0061":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}') + one,
        "negative zero and subnormal": header_of({"a": entry(0, 8, 2)}) + floats(-0.0, 1e-44),
        "largest float": header_of({"a": entry(0, 4, 1)}) + floats(3.4028235e38),
        "empty": b"",
        "seven bytes": b"\x02\0\0\0\0\0\0",
        "header cut": (1000).to_bytes(8, "little") + b"{}",
        "header too long": (1 << 40).to_bytes(8, "little") + b"{}",
        "header of the largest number": b"\xff" * 8 + b"{}",
        "no json": header_of(b"{nothing") + one,
        "no object": header_of(b"[1, 2]") + one,
        "no utf-8": header_of(b'{"\xff":1}') + one,
        "no tensors": header_of({}),
        "named twice": header_of(twice) + one,
        "field twice": header_of(inner) + one,
        "half precision": header_of({"a": entry(0, 2, 1, dtype="F16")}) + b"\0\0",
        "field missing": header_of({"a": {"dtype": "F32", "shape": [1]}}) + one,
        "field too many": header_of({"a": {**entry(0, 4, 1), "x": 1}}) + one,
        "entry is a list": header_of({"a": [1]}) + one,
        "name not ascii": header_of({"ä": entry(0, 4, 1)}) + one,
        "name empty": header_of({"": entry(0, 4, 1)}) + one,
        "name too long": header_of({"a" * 257: entry(0, 4, 1)}) + one,
        "name with a tab": header_of({"a\tb": entry(0, 4, 1)}) + one,
        "empty dimension": header_of({"a": entry(0, 0, 0)}),
        "negative dimension": header_of({"a": entry(0, 4, -1)}) + one,
        "dimension as float": header_of(b'{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}') + one,
        "offset as float": header_of(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4.0]}}') + one,
        "dimension as text": header_of({"a": {"dtype": "F32", "shape": ["1"], "data_offsets": [0, 4]}}) + one,
        "dimension true": header_of({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}) + one,
        "too many dimensions": header_of({"a": entry(0, 4, *[1] * 17)}) + one,
        "too few bytes for its shape": header_of({"a": entry(0, 4, 2)}) + one,
        "a gap": header_of({"a": entry(0, 4, 1), "b": entry(8, 12, 1)}) + data,
        "an overlap": header_of({"a": entry(0, 8, 2), "b": entry(4, 12, 2)}) + data,
        "data cut": header_of(two) + data[:-1],
        "data too long": header_of(two) + data + b"\0",
        "not a number": header_of({"a": entry(0, 4, 1)}) + floats(float("nan")),
        "infinite": header_of({"a": entry(0, 8, 2)}) + floats(1, float("-inf")),
    }


def write(hash_of: Any) -> None:
    """Write the vectors down with the hashes that the program gives; `hash_of` gives None for what it refuses."""
    vectors = [
        {"name": name, "file": base64.b64encode(content).decode(), "hash": hash_of(content)}
        for name, content in files().items()
    ]
    VECTORS.write_text(json.dumps(vectors, indent=1) + "\n")
