"""The parts of the auditors' service, put together and started."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ledger.api.follower import POLL_SECONDS, Follower
from ledger.api.judging import Judge
from ledger.api.live import Live
from ledger.api.snapshot import View
from ledger.calls import Calls
from ledger.index import PROVISIONAL_BLOCKS, Indexer, IndexStore, Queries


@dataclass(frozen=True, slots=True)
class Service:
    """What request handlers have: the newest snapshot, an index that they can't write to, judgements, live updates."""

    view: View
    queries: Queries
    judge: Judge
    live: Live


@contextmanager
def started(
    ledger: Calls,
    database: Path,
    *,
    provisional: int = PROVISIONAL_BLOCKS,
    poll_seconds: float = POLL_SECONDS,
    warning: str = "",
    signatures: bool = True,
) -> Iterator[Service]:
    """Follow a ledger into an index for as long as the context lasts.

    `ledger` needs no account; `warning` is told on every answer; with `signatures` its node is asked for the signed
    transactions, too. Raises IndexMismatch or IndexDamaged where the file is another deployment's index, or none.
    """
    writing = IndexStore.open(database, ledger.deployment)
    reading = IndexStore.open(database, ledger.deployment, read_only=True)
    queries, live = Queries(reading), Live()
    view = View(ledger.deployment, queries, warning=warning)
    view.refresh()
    judge = Judge(reading, lambda: view.snapshot, ledger.rpc if signatures else None)
    indexer = Indexer(ledger, writing, provisional=provisional)
    follower = Follower(indexer, view, live.tell, poll_seconds=poll_seconds)
    judge.start()
    follower.start()
    try:
        yield Service(view, queries, judge, live)
    finally:
        judge.stop()
        follower.stop()
        reading.close()
        writing.close()
