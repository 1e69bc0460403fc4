"""The index's database: opened, written in one transaction a step, and asked."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from sqlalchemy import Connection, Engine, create_engine, delete, event, func, insert, select, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from ledger.deployment import Deployment
from ledger.errors import IndexDamaged, IndexMismatch
from ledger.events import Event
from ledger.index.rows import event_row, hash_rows
from ledger.index.schema import BLOCKS, EVENTS, HASHES, META, METADATA, VERSION
from ledger.stream import Cursor
from ledger.types import Block

_FIRST_BLOCK: Final = -1


@dataclass(frozen=True, slots=True)
class Reach:
    """How far the index goes: the newest block it has read, and the first block that may yet be replaced."""

    newest: Block | None
    provisional_from: int


class IndexStore:
    """One deployment's index in a database. Safe to use from several threads; one process writes at a time."""

    def __init__(self, engine: Engine, deployment: Deployment, *, read_only: bool = False) -> None:
        self._engine = engine
        self.deployment = deployment
        self._begin(read_only)

    @classmethod
    def open(cls, where: Path | str, deployment: Deployment, *, read_only: bool = False) -> Self:
        """Open the index in a file, or at a database's URL, and make what is missing.

        With `read_only` an SQLite file must be there, and nothing can be written through what is given. Raises
        IndexMismatch where it is another deployment's or another version's, IndexDamaged where it is no index.
        """
        url = make_url(where) if isinstance(where, str) else _file_url(where, read_only)
        try:
            # Connections are opened when needed: SQLite's cost nothing, and belong to the thread that opened them.
            engine = create_engine(url, poolclass=NullPool)
            if engine.dialect.name == "sqlite":
                event.listen(engine, "connect", _prepare_reader if read_only else _prepare_sqlite)
            return cls(engine, deployment, read_only=read_only)
        except SQLAlchemyError as error:
            raise IndexDamaged(
                f"the index {url.render_as_string()} can't be used: {error}; delete it, and it is built again"
            ) from error

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    def connect(self) -> Connection:
        """Give a connection to ask with: a context manager, which sees one state of the index throughout."""
        return self._engine.connect()

    # -- writing -------------------------------------------------------------------------------------------------

    def _begin(self, read_only: bool) -> None:
        stamp = _stamp(self.deployment)
        if not read_only:
            METADATA.create_all(self._engine)
        with self._engine.begin() as connection:
            found = _meta(connection)
            if "deployment" not in found and not read_only:
                connection.execute(insert(META), [{"name": name, "value": value} for name, value in stamp.items()])
                return
        if any(found.get(name) != value for name, value in stamp.items()):
            raise IndexMismatch(
                f"the index is of deployment {found.get('deployment', '?')[:16]}, version {found.get('version')}; this "
                f"is deployment {stamp['deployment'][:16]}, version {VERSION}: delete the index, and it is built again"
            )

    def append(self, events: Sequence[Event], blocks: Iterable[Block], cursor: Cursor, provisional_from: int) -> None:
        """Add what a step has read, all of it or, where the process dies in the middle, nothing."""
        kept = {event.at.block: Block(event.at.block, event.at.block_hash, event.at.timestamp) for event in events}
        kept |= {block.number: block for block in blocks}
        with self._engine.begin() as connection:
            known = set(connection.scalars(select(BLOCKS.c.number).where(BLOCKS.c.number.in_(kept)))) if kept else set()
            _insert(connection, BLOCKS, (_block_row(block) for number, block in kept.items() if number not in known))
            _insert(connection, EVENTS, map(event_row, events))
            _insert(connection, HASHES, (row for event in events for row in hash_rows(event)))
            settled = int(_meta(connection).get("provisional", 0)) - 2
            _forget_idle(connection, settled, provisional_from - 1)  # one more, to tell where a replacement began
            _note(
                connection,
                {"block": str(cursor.block), "hash": (cursor.hash or b"").hex(), "provisional": str(provisional_from)},
            )

    def roll_back(self, last: Block | None) -> None:
        """Take back everything after a block, or everything: what follows it was replaced on the chain."""
        number = last.number if last is not None else _FIRST_BLOCK
        with self._engine.begin() as connection:
            for table in (HASHES, EVENTS):
                connection.execute(delete(table).where(table.c.block > number))
            connection.execute(delete(BLOCKS).where(BLOCKS.c.number > number))
            if last is None:
                connection.execute(delete(META).where(META.c.name.in_(("block", "hash", "provisional"))))
            else:
                _note(connection, {"block": str(number), "hash": last.hash.hex()})

    # -- how far it goes -----------------------------------------------------------------------------------------

    def cursor(self) -> Cursor | None:
        """Give how far the index has read; None before the first step."""
        with self.connect() as connection:
            found = _meta(connection)
        with suppress(KeyError, ValueError):
            return Cursor(int(found["block"]), bytes.fromhex(found["hash"]) or None)
        return None

    def reach(self, connection: Connection) -> Reach:
        """Say how far the index goes."""
        found = _meta(connection)
        number = int(found.get("block", _FIRST_BLOCK))
        row = connection.execute(select(BLOCKS).where(BLOCKS.c.number == number)).one_or_none()
        return Reach(_block(row) if row is not None else None, int(found.get("provisional", 0)))

    def blocks(self, first: int, last: int) -> dict[int, Block]:
        """Give the blocks that are kept, from one number to another, by number."""
        with self.connect() as connection:
            rows = connection.execute(select(BLOCKS).where(BLOCKS.c.number.between(first, last)))
            return {row.number: _block(row) for row in rows}

    def count(self) -> int:
        """Count the events."""
        with self.connect() as connection:
            return int(connection.scalar(select(func.count()).select_from(EVENTS)) or 0)

    # -- what it holds -------------------------------------------------------------------------------------------

    def dump(self) -> Iterator[str]:
        """Give every row of every table as a line of text, in one order: the same for the same chain."""
        with self.connect() as connection:
            for table in METADATA.sorted_tables:
                for row in connection.execute(select(table).order_by(*table.primary_key.columns)):
                    fields = (f"{key}={_text(value)}" for key, value in row._mapping.items())
                    yield f"{table.name} {' '.join(fields)}"


def _file_url(path: Path, read_only: bool) -> URL:
    if not read_only:
        return URL.create("sqlite", database=str(path.absolute()))
    return URL.create("sqlite", database=path.absolute().as_uri(), query={"mode": "ro", "uri": "true"})


def _prepare_reader(connection: Any, _record: object) -> None:
    for setting in ("query_only=ON", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {setting}")


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Let readers read while the index is written; a crash loses at most the last steps, which are read again."""
    for setting in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {setting}")


def _stamp(deployment: Deployment) -> dict[str, str]:
    return {"version": str(VERSION), "deployment": hashlib.sha256(deployment.to_json().encode()).hexdigest()}


def _meta(connection: Connection) -> dict[str, str]:
    return {row.name: row.value for row in connection.execute(select(META))}


def _note(connection: Connection, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        changed = connection.execute(update(META).where(META.c.name == name).values(value=value))
        if changed.rowcount == 0:
            connection.execute(insert(META), {"name": name, "value": value})


def _insert(connection: Connection, table: Any, rows: Iterable[dict[str, Any]]) -> None:
    if values := list(rows):
        connection.execute(insert(table), values)


def _forget_idle(connection: Connection, first: int, end: int) -> None:
    """Delete the blocks without events that can't be replaced any more, so that the same chain gives the same rows."""
    has_events = select(EVENTS.c.block).where(EVENTS.c.block == BLOCKS.c.number).exists()
    connection.execute(delete(BLOCKS).where(BLOCKS.c.number >= first, BLOCKS.c.number < end, ~has_events))


def _block_row(block: Block) -> dict[str, Any]:
    return {"number": block.number, "hash": block.hash, "timestamp": block.timestamp}


def _block(row: Any) -> Block:
    return Block(row.number, row.hash, row.timestamp)


def _text(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
