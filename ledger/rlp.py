"""Ethereum's recursive length prefix (yellow paper, appendix B): what a transaction is written in."""

from typing import Any

Item = bytes | list[Any]


def encode(item: int | bytes | list[Any]) -> bytes:
    """Encode bytes, a number that isn't negative, or a list of such."""
    if isinstance(item, list):
        return _prefixed(0xC0, b"".join(encode(part) for part in item))
    raw = item.to_bytes((item.bit_length() + 7) // 8, "big") if isinstance(item, int) else item
    return raw if len(raw) == 1 and raw[0] < 0x80 else _prefixed(0x80, raw)


def decode(raw: bytes) -> Item:
    """Decode one item, numbers as bytes; raises ValueError where it isn't one, or where bytes follow it."""
    item, rest = _item(raw)
    if rest:
        raise ValueError(f"{len(rest)} bytes follow the item")
    return item


def _prefixed(base: int, payload: bytes) -> bytes:
    if len(payload) < 56:
        return bytes([base + len(payload)]) + payload
    length = len(payload).to_bytes((len(payload).bit_length() + 7) // 8, "big")
    return bytes([base + 55 + len(length)]) + length + payload


def _item(raw: bytes) -> tuple[Item, bytes]:
    if not raw:
        raise ValueError("an item is missing")
    if raw[0] < 0x80:
        return raw[:1], raw[1:]
    is_list = raw[0] >= 0xC0
    short = raw[0] - (0xC0 if is_list else 0x80)
    start = 1 if short < 56 else 1 + short - 55
    length = short if short < 56 else int.from_bytes(raw[1:start], "big")
    if len(raw) < start + length:
        raise ValueError(f"an item of {length} bytes is cut short")
    payload, rest = raw[start : start + length], raw[start + length :]
    if not is_list:
        return payload, rest
    parts: list[Item] = []
    while payload:
        part, payload = _item(payload)
        parts.append(part)
    return parts, rest
