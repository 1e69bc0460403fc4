"""Between events and the index's rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ledger import abi
from ledger.events import ConsortiumEvent, Event, decode_log
from ledger.types import Address, Commitment

Row = dict[str, Any]
_SITES: Final = ("site", "leader", "proposer", "voter", "subject")
_ROLES: Final = ("spec_hash", "output")
_WORD: Final = 32


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
    contract = contract_of(event)
    shape = next(shape for shape in abi.interface(contract).events.values() if shape.name == type(event).__name__)
    topics = b"".join(parameter.encode([getattr(event, name)]) for name, parameter in shape.topics)
    site = next((getattr(event, name) for name in _SITES if hasattr(event, name)), None)
    return {
        "block": event.at.block,
        "log_index": event.at.log_index,
        "tx": event.at.tx,
        "contract": contract,
        "kind": shape.name,
        "study": getattr(event, "study", None),
        "round": getattr(event, "round", None),
        "site": account_bytes(site) if site is not None else None,
        "topics": shape.topic + topics,
        "data": shape.data.encode([getattr(event, item.name) for item in shape.data.items]),
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
    """Read an event back; raises EventInvalid where the row is damaged."""
    topics = [row.topics[start : start + _WORD] for start in range(0, len(row.topics), _WORD)]
    log = {
        "topics": ["0x" + topic.hex() for topic in topics],
        "data": "0x" + row.data.hex(),
        "blockNumber": hex(row.block),
        "logIndex": hex(row.log_index),
        "transactionHash": "0x" + row.tx.hex(),
        "blockHash": "0x" + block_hash.hex(),
    }
    return decode_log(row.contract, log, timestamp)


def place(event: Event) -> tuple[int, int]:
    """Give where an event stands: pages of events go on after such a place."""
    return event.at.block, event.at.log_index
