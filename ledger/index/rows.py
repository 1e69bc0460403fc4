"""Between events and the index's rows."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from enum import IntEnum
from functools import cache, partial
from typing import Any, Final, get_type_hints

from ledger import events
from ledger.errors import IndexDamaged
from ledger.events import ConsortiumEvent, Event
from ledger.types import Address, Commitment, Position

Row = dict[str, Any]
_Convert = Callable[[Any], Any]
_SITES: Final = ("site", "leader", "proposer", "voter", "subject")
_ROLES: Final = ("spec_hash", "output")


@dataclass(frozen=True, slots=True)
class IndexedEvent:
    """An event as the index has it; one that is `provisional` may yet vanish with its block."""

    event: Event
    provisional: bool


def contract_of(event: Event) -> str:
    """Name the contract that writes such an event."""
    return "Consortium" if isinstance(event, ConsortiumEvent) else "Study"


def account_bytes(account: Address) -> bytes:
    """Give the 20 bytes of an account."""
    return bytes.fromhex(account[2:])


def event_row(event: Event) -> Row:
    """Give the row of an event."""
    site = next((getattr(event, name) for name in _SITES if hasattr(event, name)), None)
    values = [_plain(getattr(event, name)) for name, _ in _fields(type(event))]
    return {
        "block": event.at.block,
        "log_index": event.at.log_index,
        "tx": event.at.tx,
        "contract": contract_of(event),
        "kind": type(event).__name__,
        "study": getattr(event, "study", None),
        "round": getattr(event, "round", None),
        "site": account_bytes(site) if site is not None else None,
        "fields": json.dumps(values, separators=(",", ":")),
    }


def hash_rows(event: Event) -> Iterator[Row]:
    """Give the rows of the hashes that an event names."""
    named = {role: getattr(event, role) for role in _ROLES if hasattr(event, role)}
    commitment = getattr(event, "commitment", None)
    if isinstance(commitment, Commitment):
        named["update"] = commitment.blob
    for role, value in named.items():
        yield {"hash": value, "block": event.at.block, "log_index": event.at.log_index, "role": role}


def event_of(row: Any, block_hash: bytes, timestamp: int) -> Event:
    """Read an event back; raises IndexDamaged where the row isn't one of an event."""
    try:
        kind = _kinds()[row.kind]
        values = zip(_fields(kind), json.loads(row.fields), strict=True)
        at = Position(row.block, row.log_index, row.tx, block_hash, timestamp)
        return kind(at=at, **{name: convert(value) for (name, convert), value in values})
    except (LookupError, ValueError, TypeError) as error:
        raise IndexDamaged(
            f"event {row.log_index} of block {row.block} is damaged in the index: delete it, and it is built again"
        ) from error


def place(event: Event) -> tuple[int, int]:
    """Give where an event stands: pages of events go on after such a place."""
    return event.at.block, event.at.log_index


@cache
def _kinds() -> dict[str, type[Event]]:
    return {name: one for name, one in vars(events).items() if isinstance(one, type) and issubclass(one, Event)}


def _fields(kind: type[Any]) -> tuple[tuple[str, _Convert], ...]:
    """Name a class's fields but `at`, each with what makes its value of a plain one."""
    return _fields_of(kind)  # type: ignore[arg-type]  # mypy holds a class's instances against Hashable


@cache
def _fields_of(kind: Any) -> tuple[tuple[str, _Convert], ...]:
    hints = get_type_hints(kind)
    return tuple((one.name, _convert(hints[one.name])) for one in fields(kind) if one.name != "at")


def _plain(value: Any) -> Any:
    """Make a JSON value."""
    if isinstance(value, bytes):
        return value.hex()
    if is_dataclass(value):
        return [_plain(getattr(value, name)) for name, _ in _fields(type(value))]
    return int(value) if isinstance(value, IntEnum) else value


def _convert(hint: Any) -> _Convert:
    if hint is bytes:
        return bytes.fromhex
    if isinstance(hint, type) and is_dataclass(hint):
        return partial(_struct, hint)
    if isinstance(hint, type) and issubclass(hint, IntEnum):
        return hint
    return _same if isinstance(hint, type) and hint in (int, str, bool) else tuple


def _same(value: Any) -> Any:
    return value


def _struct(kind: type[Any], values: list[Any]) -> Any:
    return kind(*(convert(value) for (_, convert), value in zip(_fields(kind), values, strict=True)))
