"""RLP from a stranger: bounded, and never a surprise to the caller."""

from typing import Any, Final

import rlp
from rlp.exceptions import RLPException
from trie import HexaryTrie

from ledger.errors import BundleInvalid

EMPTY_ROOT: Final = bytes.fromhex("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421")


def decode(raw: bytes, what: str) -> Any:
    """Decode one item that must be all of the bytes; raises BundleInvalid."""
    try:
        return rlp.decode(raw, strict=True)
    except (RLPException, RecursionError, ValueError, TypeError, IndexError) as error:
        raise BundleInvalid(f"{what}: not RLP ({type(error).__name__})") from None


def encode(item: Any) -> bytes:
    """Encode an item."""
    return bytes(rlp.encode(item))


def number(raw: Any, what: str) -> int:
    """Read a whole number of at most 32 bytes, without leading zeros; raises BundleInvalid."""
    if not isinstance(raw, bytes) or len(raw) > 32 or raw[:1] == b"\0":
        raise BundleInvalid(f"{what}: not a number")
    return int.from_bytes(raw, "big")


def word(raw: Any, what: str, size: int = 32) -> bytes:
    """Read bytes of a certain length; raises BundleInvalid."""
    if not isinstance(raw, bytes) or len(raw) != size:
        raise BundleInvalid(f"{what}: not {size} bytes")
    return raw


def unsigned(value: int) -> bytes:
    """Spell a number as RLP wants it."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def ordered_root(items: tuple[bytes, ...]) -> bytes:
    """Give the root of the Merkle-Patricia tree that holds these items under their indexes, as a block header has it.

    Since the tree is built from the whole list, an equal root proves every item, their order, and that none is missing.
    """
    if not items:
        return EMPTY_ROOT
    tree = HexaryTrie(db={})
    for index, item in enumerate(items):
        tree[encode(unsigned(index))] = item
    return bytes(tree.root_hash)
