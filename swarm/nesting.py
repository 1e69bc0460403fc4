"""A bound on how deep JSON from others is nested, before it is parsed.

Python's parser calls itself for each level and trusts the interpreter's recursion limit to end that. Libraries raise
that limit (py_ecc, which eth_account imports, to 100 000), and then a megabyte of brackets ends the whole process.
"""

import re
from itertools import accumulate

DEEPEST = 64

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)  # one that never ends is read once, not again and again
_NO_BRACKET = re.compile(rb"[^\[\]{}]+")
_STEP = {byte: 1 if byte in b"[{" else -1 for byte in b"[]{}"}


def check_nesting(data: bytes) -> bytes:
    """Give the bytes back; raises ValueError where they are nested deeper than 64 levels."""
    brackets = _NO_BRACKET.sub(b"", _STRING.sub(b"", data))
    if max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > DEEPEST:
        raise ValueError(f"nested deeper than {DEEPEST} levels")
    return data
