"""The index's tables. Nothing in them is particular to SQLite: PostgreSQL serves as well.

Hashes, accounts and blobs are raw bytes. An event's own fields are in `fields`, as JSON: numbers there may be larger
than 63 bits. All other columns are derived from them, to be asked for.
"""

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKeyConstraint, Index, LargeBinary, MetaData, String, Table, Text

VERSION: Final = 1
METADATA: Final = MetaData()

META: Final = Table(
    "meta",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("value", String(256), nullable=False),
)
"""Which deployment this is the index of, by which version, and how far it has read."""

BLOCKS: Final = Table(
    "blocks",
    METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary(32), nullable=False),
    Column("timestamp", BigInteger, nullable=False),
)
"""Every block with an event of ours, and every one of the newest, which may yet be replaced."""

EVENTS: Final = Table(
    "events",
    METADATA,
    Column("block", BigInteger, primary_key=True, autoincrement=False),
    Column("log_index", BigInteger, primary_key=True, autoincrement=False),
    Column("tx", LargeBinary(32), nullable=False),
    Column("contract", String(16), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("study", BigInteger),
    Column("round", BigInteger),
    Column("site", LargeBinary(20)),
    Column("fields", Text, nullable=False),
    ForeignKeyConstraint(["block"], ["blocks.number"]),
    Index("events_by_study", "study", "round", "block", "log_index"),
    Index("events_by_kind", "kind", "block", "log_index"),
    Index("events_by_site", "site", "block", "log_index"),
)
"""Every event of both contracts. `site` is the account that the event is about, where there is one."""

HASHES: Final = Table(
    "hashes",
    METADATA,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("block", BigInteger, primary_key=True, autoincrement=False),
    Column("log_index", BigInteger, primary_key=True, autoincrement=False),
    Column("role", String(16), primary_key=True),
    ForeignKeyConstraint(["block", "log_index"], ["events.block", "events.log_index"]),
    Index("hashes_by_event", "block", "log_index"),
)
"""What a hash is to the ledger: the specification, update or output that an event names."""
