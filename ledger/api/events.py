"""Raw events as answers."""

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from enum import IntEnum
from typing import Any, Final

from ledger.api import schemas as s
from ledger.api.telling import Teller
from ledger.events import Event, StudyProposed
from ledger.index import IndexedEvent
from ledger.index.rows import contract_of
from ledger.rpc import data
from ledger.types import seats_of

_SEATS: Final = frozenset({"participants", "eligible", "committed", "merged", "attested", "voided"})
_APART: Final = frozenset({"at", "study", "round"})


def event_answer(teller: Teller, indexed: IndexedEvent) -> s.Event:
    """Tell of an event as the contract wrote it."""
    event = indexed.event
    place = teller.place(event.at).model_copy(update={"provisional": indexed.provisional})
    return s.Event(
        kind=type(event).__name__,
        contract=contract_of(event),
        study=getattr(event, "study", None),
        round=getattr(event, "round", None),
        at=place,
        log_index=event.at.log_index,
        fields=dict(_fields(event)),
    )


def _fields(event: Event) -> Mapping[str, Any]:
    told: dict[str, Any] = {}
    for field in fields(event):
        value = getattr(event, field.name)
        if field.name in _APART:
            continue
        if isinstance(event, StudyProposed) and field.name == "spec":
            told["spec_bytes"] = len(event.spec)
        else:
            told[field.name] = list(seats_of(value)) if field.name in _SEATS else _plain(value)
    return told


def _plain(value: Any) -> Any:
    match value:
        case bytes():
            return data(value)
        case IntEnum():
            return value.name.lower()
        case tuple() | list():
            return [_plain(one) for one in value]
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {name: _plain(one) for name, one in asdict(value).items()}
        case _:
            return value
