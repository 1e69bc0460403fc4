"""The index: incremental, restartable, right under re-organisations, and the same however it was made."""

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from audit_world import World
from forgery import head_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from ledger import events as e
from ledger.audit.audit import audit
from ledger.audit.bundle.content import Bundle
from ledger.audit.indexed import indexed_record
from ledger.audit.rules import judge
from ledger.audit.verdict import Outcome
from ledger.client import Ledger
from ledger.deployment import Deployment
from ledger.errors import IndexDamaged, IndexMismatch, IndexRewritten
from ledger.events import Event
from ledger.index import EventFilter, Indexer, IndexStore, Queries
from ledger.index import store as store_module
from ledger.index.schema import METADATA
from ledger.memory import MemoryChain, RawLog, encode_log
from ledger.state import fold
from ledger.stream import EventStream
from ledger.types import Commitment, Position

CONSORTIUM, STUDY = "0x" + "11" * 20, "0x" + "22" * 20
ALICE, BERTA = "0x" + "aa" * 20, "0x" + "bb" * 20
NOWHERE = Position(0, 0, bytes(32), bytes(32), 0)


def logs(number: int) -> list[RawLog]:
    """Three events of a kind each, which differ from those of every other number."""
    digest = number.to_bytes(32, "big")
    commitment = Commitment(digest, number + 1, 0, digest, number, digest)
    where = {"at": NOWHERE, "study": 1 + number % 3, "round": number}
    return [
        encode_log(
            CONSORTIUM, e.AddressesPublished(at=NOWHERE, site=ALICE, multiaddrs=(f"/ip4/10.0.0.1/tcp/{number}",))
        ),
        encode_log(STUDY, e.UpdateCommitted(**where, site=BERTA, attempt=0, seat=1, commitment=commitment)),
        encode_log(STUDY, e.RoundFinalised(**where, term=0, output=digest[::-1], merged=1 << 255, attested=3)),
    ]


class Chain:
    """A chain in memory, and the ledger behind it."""

    def __init__(self) -> None:
        self.memory = MemoryChain()
        self.numbers = itertools.count(1)
        genesis = bytes.fromhex(self.memory.call("eth_getBlockByNumber", "0x0", False)["hash"][2:])
        self.deployment = Deployment(1, genesis, CONSORTIUM, STUDY, 1)
        self.ledger = Ledger(self.memory, self.deployment)

    def mine(self, blocks: int, *, every: int = 1) -> None:
        """Mine some blocks, each n-th of them with events."""
        for _ in range(blocks):
            number = next(self.numbers)
            self.memory.mine(*(logs(number) if number % every == 0 else ()))


@pytest.fixture
def chain() -> Chain:
    return Chain()


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[Chain], IndexStore]:
    """Opens a new index each time."""
    names = itertools.count()
    return lambda chain: IndexStore.open(tmp_path / f"index-{next(names)}.sqlite", chain.deployment)


def dump(chain: Chain, store: IndexStore, **options: Any) -> list[str]:
    Indexer(chain.ledger, store, **options).catch_up()
    return list(store.dump())


def test_what_comes_out_is_what_the_stream_gives(chain: Chain, fresh: Callable[[Chain], IndexStore]) -> None:
    chain.mine(50)
    store = fresh(chain)
    assert Indexer(chain.ledger, store).catch_up() == 150
    assert Queries(store).all_events() == EventStream(chain.ledger).poll()
    assert store.count() == 150


def test_an_index_that_grew_is_the_one_that_is_built_at_once(
    chain: Chain, fresh: Callable[[Chain], IndexStore]
) -> None:
    grown = fresh(chain)
    indexer = Indexer(chain.ledger, grown)
    for blocks in (1, 7, 40, 0, 1, 60):
        chain.mine(blocks, every=3)
        indexer.catch_up()
    assert list(grown.dump()) == dump(chain, fresh(chain))


@given(steps=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 6)), min_size=1, max_size=6))
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_after_any_re_organisations_it_is_the_one_of_the_chain_that_is(
    steps: list[tuple[int, int]], fresh: Callable[[Chain], IndexStore]
) -> None:
    chain = Chain()
    grown = fresh(chain)
    indexer = Indexer(chain.ledger, grown, provisional=6)
    for blocks, depth in steps:
        chain.mine(blocks, every=2)
        indexer.catch_up()
        head = int(chain.memory.call("eth_blockNumber"), 16)
        if depth and head:
            chain.memory.rewrite(min(depth, head))
        chain.mine(1)
        indexer.catch_up()
    assert list(grown.dump()) == dump(chain, fresh(chain), provisional=6)


def test_events_of_replaced_blocks_vanish(chain: Chain, fresh: Callable[[Chain], IndexStore]) -> None:
    chain.mine(20)
    store = fresh(chain)
    indexer = Indexer(chain.ledger, store)
    indexer.catch_up()
    chain.memory.rewrite(5)
    indexer.catch_up()
    assert store.count() == 45
    assert indexer.rolled_back == 5


def test_the_newest_blocks_say_that_they_are_provisional(chain: Chain, fresh: Callable[[Chain], IndexStore]) -> None:
    chain.mine(20)
    store = fresh(chain)
    Indexer(chain.ledger, store, provisional=4).catch_up()
    page = Queries(store).events(limit=1000)
    provisional = {one.event.at.block for one in page.events if one.provisional}
    assert provisional == {17, 18, 19, 20}
    assert page.reach.newest is not None
    assert (page.reach.newest.number, page.reach.provisional_from) == (20, 17)


def test_on_a_chain_with_finality_nothing_is_provisional(chain: Chain, fresh: Callable[[Chain], IndexStore]) -> None:
    chain.mine(20)
    store = fresh(chain)
    Indexer(chain.ledger, store, provisional=0).catch_up()
    assert not any(one.provisional for one in Queries(store).events(limit=1000).events)


@pytest.mark.parametrize("provisional", [0, 3])
def test_a_history_that_was_final_and_is_another_is_refused_and_kept(
    provisional: int, chain: Chain, fresh: Callable[[Chain], IndexStore]
) -> None:
    chain.mine(20)
    store = fresh(chain)
    indexer = Indexer(chain.ledger, store, provisional=provisional)
    indexer.catch_up()
    before = list(store.dump())
    chain.memory.rewrite(provisional + 2)
    chain.mine(1)
    with pytest.raises(IndexRewritten, match="rewritten"):
        indexer.catch_up()
    assert list(store.dump()) == before


def test_another_chain_is_refused(chain: Chain, fresh: Callable[[Chain], IndexStore]) -> None:
    chain.mine(20)
    store = fresh(chain)
    Indexer(chain.ledger, store).catch_up()
    chain.memory.reset()
    chain.mine(30)
    with pytest.raises(IndexRewritten, match="genesis"):
        Indexer(chain.ledger, store).catch_up()


class Died(Exception):
    """The process ended here."""


def test_killed_at_any_write_it_goes_on_with_nothing_lost_or_doubled(
    chain: Chain, fresh: Callable[[Chain], IndexStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    chain.mine(30)
    honest = store_module._insert
    for fatal in range(1, 10):
        store = fresh(chain)
        writes = itertools.count(1)

        def insert(*args: Any, writes: Iterator[int] = writes, fatal: int = fatal) -> None:
            if next(writes) == fatal:
                raise Died
            honest(*args)

        for life in range(3):
            monkeypatch.setattr(store_module, "_insert", insert)
            chain.mine(life)
            with suppress(Died):
                Indexer(chain.ledger, store).catch_up()
        monkeypatch.setattr(store_module, "_insert", honest)
        assert dump(chain, store) == dump(chain, fresh(chain))


def test_pages_follow_on_each_other_without_gap_or_overlap(chain: Chain, fresh: Callable[[Chain], IndexStore]) -> None:
    chain.mine(40)
    store = fresh(chain)
    Indexer(chain.ledger, store).catch_up()
    queries, found, after = Queries(store), list[Event](), None
    while True:
        page = queries.events(after=after, limit=7)
        found += [one.event for one in page.events]
        after = page.after
        if after is None:
            break
    assert found == queries.all_events()


@pytest.mark.parametrize(
    ("which", "count"),
    [
        (EventFilter(), 120),
        (EventFilter(study=2), 28),
        (EventFilter(study=2, round=4), 2),
        (EventFilter(site=BERTA), 40),
        (EventFilter(kinds=["RoundFinalised", "AddressesPublished"]), 80),
        (EventFilter(study=9), 0),
    ],
)
def test_events_are_found_by_what_they_are_about(
    which: EventFilter, count: int, chain: Chain, fresh: Callable[[Chain], IndexStore]
) -> None:
    chain.mine(40)
    store = fresh(chain)
    Indexer(chain.ledger, store).catch_up()
    queries = Queries(store)
    assert len(queries.events(which, limit=1000).events) == count
    assert sum(queries.counts(which).values()) == count


def test_a_hash_is_told_for_what_it_is(chain: Chain, fresh: Callable[[Chain], IndexStore]) -> None:
    chain.mine(10)
    store = fresh(chain)
    Indexer(chain.ledger, store).catch_up()
    digest = (7).to_bytes(32, "big")
    queries = Queries(store)
    assert [(one.role, one.event.event.at.block) for one in queries.mentions(digest)] == [("update", 7)]
    assert [one.role for one in queries.mentions(digest[::-1])] == ["output"]
    assert queries.mentions(b"\xff" * 32) == []


def test_a_page_without_bound_is_refused(chain: Chain, fresh: Callable[[Chain], IndexStore]) -> None:
    with pytest.raises(ValueError, match="1000"):
        Queries(fresh(chain)).events(limit=1001)


def test_the_index_of_another_deployment_is_refused(chain: Chain, tmp_path: Path) -> None:
    IndexStore.open(tmp_path / "index", chain.deployment)
    other = Deployment(2, chain.deployment.genesis, CONSORTIUM, STUDY, 1)
    with pytest.raises(IndexMismatch, match="delete"):
        IndexStore.open(tmp_path / "index", other)


def test_a_file_that_is_no_index_is_refused(chain: Chain, tmp_path: Path) -> None:
    (tmp_path / "index").write_bytes(b"this is no database, whatever it is " * 100)
    with pytest.raises(IndexDamaged):
        IndexStore.open(tmp_path / "index", chain.deployment)


def test_the_schema_is_one_that_postgresql_takes_too() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    for table in METADATA.sorted_tables:
        assert "BYTEA" in str(CreateTable(table).compile(dialect=dialect)) or table.name == "meta"
        for index in table.indexes:
            assert str(CreateIndex(index).compile(dialect=dialect)).startswith("CREATE INDEX")


def test_the_columns_to_ask_for_say_what_the_event_says(chain: Chain, fresh: Callable[[Chain], IndexStore]) -> None:
    chain.mine(5)
    store = fresh(chain)
    Indexer(chain.ledger, store).catch_up()
    engine = create_engine(f"sqlite:///{store._engine.url.database}")
    with engine.connect() as connection:
        rows = list(connection.exec_driver_sql("SELECT * FROM events ORDER BY block, log_index"))
    engine.dispose()
    for row, event in zip(rows, Queries(store).all_events(), strict=True):
        assert row.kind == type(event).__name__
        assert row.study == getattr(event, "study", None)
        assert row.round == getattr(event, "round", None)
        assert is_dataclass(event)
        assert {"at"} <= {one.name for one in fields(event)}


def test_a_real_chain_is_indexed_and_folds_to_the_same_state(world: World, tmp_path: Path) -> None:
    store = IndexStore.open(tmp_path / "index", world.deployment)
    Indexer(world.reader, store, provisional=0).catch_up()
    assert Queries(store).state() == fold(EventStream(world.reader).poll())
    assert list(store.dump()) == list(store.dump())


def test_a_record_from_the_index_is_judged_as_the_one_from_a_bundle(
    world: World, bundle: Bundle, tmp_path: Path
) -> None:
    store = IndexStore.open(tmp_path / "index", world.deployment)
    Indexer(world.reader, store, provisional=0).catch_up()
    proven = {one.rule: one for one in audit(bundle, anchor=head_of(bundle)).verdicts}
    for verdict in judge(indexed_record(store, world.study, world.store, world.reader.rpc)):
        assert verdict == proven[verdict.rule]


def test_without_a_node_signatures_are_not_decidable(world: World, tmp_path: Path) -> None:
    store = IndexStore.open(tmp_path / "index", world.deployment)
    Indexer(world.reader, store, provisional=0).catch_up()
    outcomes = {one.rule: one.outcome for one in judge(indexed_record(store, world.study))}
    assert outcomes["signatures"] is outcomes["merge"] is Outcome.UNDECIDABLE
    assert Outcome.BROKEN not in outcomes.values()


DYING = """
import itertools, os, sys
from pathlib import Path
from ledger.client import Ledger
from ledger.deployment import Deployment
from ledger.index import Indexer, IndexStore, indexer, store
from ledger.rpc import connect

path, deployment, url, fatal = sys.argv[1:]
writes, honest = itertools.count(1), store._insert
indexer.STEP_EVENTS = 5

def insert(*args):
    if next(writes) == int(fatal):
        os._exit(9)
    honest(*args)

store._insert = insert
given = Deployment.from_json(deployment)
Indexer(Ledger(connect(url), given), IndexStore.open(Path(path), given), provisional=0).catch_up()
"""


@pytest.mark.parametrize("fatal", [2, 6, 9])
def test_a_process_that_is_killed_leaves_an_index_that_goes_on(fatal: int, world: World, tmp_path: Path) -> None:
    arguments = [str(tmp_path / "killed"), world.deployment.to_json(), world.devnet.ipc, str(fatal)]
    killed = subprocess.run([sys.executable, "-c", DYING, *arguments], check=False)
    assert killed.returncode == 9
    dumps = []
    for name in ("killed", "fresh"):
        store = IndexStore.open(tmp_path / name, world.deployment)
        Indexer(world.reader, store, provisional=0).catch_up()
        dumps.append([line for line in store.dump() if line.startswith(("events", "hashes"))])
    assert dumps[0] == dumps[1]
    assert len(dumps[0]) > 80
