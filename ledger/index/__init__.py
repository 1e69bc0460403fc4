"""The contracts' events in a database: incremental, restartable, right where the chain replaces its newest blocks."""

from ledger.index.indexer import PROVISIONAL_BLOCKS, Indexer
from ledger.index.queries import EventFilter, Mention, Page, Queries
from ledger.index.rows import IndexedEvent
from ledger.index.store import IndexStore, Reach

__all__ = [
    "PROVISIONAL_BLOCKS",
    "EventFilter",
    "IndexStore",
    "IndexedEvent",
    "Indexer",
    "Mention",
    "Page",
    "Queries",
    "Reach",
]
