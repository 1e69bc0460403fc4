"""What is asked of the index: pages of events, what a hash is, and the folded state."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, and_, func, or_, select

from ledger.events import Event
from ledger.index.rows import IndexedEvent, account_bytes, event_of, place
from ledger.index.schema import BLOCKS, EVENTS, HASHES
from ledger.index.store import IndexStore, Reach
from ledger.state import LedgerState
from ledger.types import Address

MAX_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events: of a study, a round of it, an account, some kinds; None asks for any."""

    study: int | None = None
    round: int | None = None
    site: Address | None = None
    kinds: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some events in the order of the chain; `after` asks for the next page, None where this was the last."""

    events: tuple[IndexedEvent, ...]
    after: tuple[int, int] | None
    reach: Reach


@dataclass(frozen=True, slots=True)
class Mention:
    """One event that names a hash, and as what: "update", "output" or "spec_hash"."""

    role: str
    event: IndexedEvent


class Queries:
    """Questions to one index; each is answered from one state of it."""

    def __init__(self, store: IndexStore) -> None:
        self._store = store

    def reach(self) -> Reach:
        """Say how far the index goes."""
        with self._store.connect() as connection:
            return self._store.reach(connection)

    def events(
        self, which: EventFilter = EventFilter(), *, after: tuple[int, int] | None = None, limit: int = 100
    ) -> Page:
        """Give a page of at most `limit` events after a place; raises ValueError for a limit that is out of bounds."""
        if not 1 <= limit <= MAX_PAGE:
            raise ValueError(f"a page has 1..{MAX_PAGE} events, not {limit}")
        query = _which(which).order_by(EVENTS.c.block, EVENTS.c.log_index).limit(limit + 1)
        if after is not None:
            query = query.where(_follows(after))
        with self._store.connect() as connection:
            reach = self._store.reach(connection)
            found = _read(connection, query, reach)
        page = found[:limit]
        return Page(tuple(page), place(page[-1].event) if len(found) > limit else None, reach)

    def latest(self, limit: int, *, until: int) -> list[IndexedEvent]:
        """Give the newest events, none from after a block, the newest first."""
        query = _joined().where(EVENTS.c.block <= until).order_by(EVENTS.c.block.desc(), EVENTS.c.log_index.desc())
        with self._store.connect() as connection:
            return _read(connection, query.limit(limit), self._store.reach(connection))

    def counts(self, which: EventFilter = EventFilter()) -> dict[str, int]:
        """Count events by kind."""
        query = select(EVENTS.c.kind, func.count()).group_by(EVENTS.c.kind).order_by(EVENTS.c.kind)
        with self._store.connect() as connection:
            return {kind: count for kind, count in connection.execute(query.where(*_conditions(which)))}  # noqa: C416

    def mentions(self, digest: bytes, *, limit: int = MAX_PAGE) -> list[Mention]:
        """Say what a hash is to the ledger, in the order of the chain."""
        query = (
            _joined(HASHES.c.role)
            .join(HASHES, and_(HASHES.c.block == EVENTS.c.block, HASHES.c.log_index == EVENTS.c.log_index))
            .where(HASHES.c.hash == digest)
            .order_by(EVENTS.c.block, EVENTS.c.log_index, HASHES.c.role)
            .limit(limit)
        )
        with self._store.connect() as connection:
            reach = self._store.reach(connection)
            rows = list(connection.execute(query))
        return [Mention(row.role, _indexed(row, reach)) for row in rows]

    def all_events(self, *, after: tuple[int, int] | None = None) -> list[Event]:
        """Give every event after a place, in order; all of them where none is given."""
        query = _joined().order_by(EVENTS.c.block, EVENTS.c.log_index)
        if after is not None:
            query = query.where(_follows(after))
        with self._store.connect() as connection:
            return [event_of(row, row.hash, row.timestamp) for row in connection.execute(query)]

    def state(self) -> LedgerState:
        """Fold the whole index."""
        return LedgerState().fold(self.all_events())


def _joined(*more: Any) -> Select[Any]:
    return select(EVENTS, BLOCKS.c.hash, BLOCKS.c.timestamp, *more).join(BLOCKS, BLOCKS.c.number == EVENTS.c.block)


def _which(which: EventFilter) -> Select[Any]:
    return _joined().where(*_conditions(which))


def _conditions(which: EventFilter) -> Iterable[Any]:
    if which.study is not None:
        yield EVENTS.c.study == which.study
    if which.round is not None:
        yield EVENTS.c.round == which.round
    if which.site is not None:
        yield EVENTS.c.site == account_bytes(which.site)
    if which.kinds is not None:
        yield EVENTS.c.kind.in_(which.kinds)


def _follows(after: tuple[int, int]) -> Any:
    block, log_index = after
    return or_(EVENTS.c.block > block, and_(EVENTS.c.block == block, EVENTS.c.log_index > log_index))


def _read(connection: Connection, query: Select[Any], reach: Reach) -> list[IndexedEvent]:
    return [_indexed(row, reach) for row in connection.execute(query)]


def _indexed(row: Any, reach: Reach) -> IndexedEvent:
    return IndexedEvent(event_of(row, row.hash, row.timestamp), row.block >= reach.provisional_from)
