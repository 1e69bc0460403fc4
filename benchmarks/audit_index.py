"""`python -m benchmarks.audit_index`: a chain of 100,000 events, indexed, asked, folded and judged.

The events are made up and legal, encoded as the contracts encode them, and served by a chain in memory as the raw logs
that a node would give: what is measured is decoding, writing and asking, not somebody's node. All times are those
that the processor was busy.
"""

import argparse
import hashlib
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ledger import events as e
from ledger.abi import keccak256
from ledger.audit.record import Record
from ledger.audit.rules import judge
from ledger.client import Ledger
from ledger.deployment import Deployment
from ledger.events import Event
from ledger.index import EventFilter, Indexer, IndexStore, Queries
from ledger.memory import MemoryChain, encode_log
from ledger.state import elect, genesis_seed, mix, next_seed
from ledger.types import Block, Commitment, Position, Terms
from swarm import studies

SITES = 8
CONSORTIUM, STUDY = "0x" + "11" * 20, "0x" + "22" * 20
HERE = Position(0, 0, bytes(32), bytes(32), 0)
ASKED = 200
FOREVER = 1 << 60


def address(seat: int) -> str:
    return "0x" + f"{seat + 1:02d}" * 20


def blob(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


def history(chain_id: int, rounds: int) -> Iterator[list[Event]]:
    """The events of one study, block by block: every site commits, all attest, each round is final."""
    links = [[blob("chain", seat)] for seat in range(SITES)]
    for chain in links:
        while len(chain) < rounds + 2:
            chain.append(keccak256(chain[-1]))
    draft = Terms(**asdict(studies.draft("breast-cancer").terms()))
    terms = replace(draft, rounds=rounds, statistics=False, min_sites=2)
    spec = b"{}"
    spec_hash = hashlib.sha256(spec).digest()
    founding: list[Event] = [e.ConsortiumFounded(at=HERE, quorum_bps=6667, motion_seconds=600)]
    founding += [e.SiteAdmitted(at=HERE, site=address(seat), seat=seat, name=f"site-{seat}") for seat in range(SITES)]
    yield founding
    everybody = (1 << SITES) - 1
    about = {"at": HERE, "study": 1}
    proposed = e.StudyProposed(
        **about, proposer=address(0), spec_hash=spec_hash, terms=terms, accept_deadline=FOREVER, spec=spec
    )
    yield [proposed]
    for seat in range(SITES):
        tip = links[seat][rounds + 1]
        yield [e.StudyAccepted(**about, site=address(seat), seat=seat, spec_hash=spec_hash, tip=tip, from_round=1)]
    seed = genesis_seed(chain_id, STUDY, 1, spec_hash)
    started: list[Event] = [e.StudyStarted(**about, participants=everybody, seed=seed)]
    for number in range(1, rounds + 1):
        where = {**about, "round": number}
        started.append(e.RoundOpened(**where, attempt=0, eligible=everybody, deadline=FOREVER))
        yield started
        reveals = [links[seat][rounds + 1 - number] for seat in range(SITES)]
        seed = next_seed(seed, mix(enumerate(reveals)), number, 0)
        leader = elect(seed, 0, everybody)
        for seat in range(SITES):
            commitment = Commitment(blob(number, seat), 10 + seat, 0, reveals[seat], 1, bytes(32))
            made: list[Event] = [
                e.UpdateCommitted(**where, site=address(seat), attempt=0, seat=seat, commitment=commitment)
            ]
            if seat == SITES - 1:
                made.append(e.RoundSealed(**where, attempt=0, committed=everybody, seed=seed))
                elected = {"leader": address(leader), "term": 0}
                made.append(e.LeaderElected(**where, **elected, seat=leader, deadline=FOREVER))
            yield made
        output = blob("output", number)
        yield [
            e.ModelPublished(
                **where,
                leader=address(leader),
                term=0,
                output=output,
                merged=everybody,
                reasons=b"",
                deadline=FOREVER,
            )
        ]
        voters = [seat for seat in range(SITES) if seat != leader][:5]
        for seat in voters:
            made = [e.OutputAttested(**where, site=address(seat), term=0, seat=seat, output=output)]
            if seat == voters[-1]:
                attested = sum(1 << one for one in voters) | 1 << leader
                final = {"term": 0, "output": output, "merged": everybody, "attested": attested}
                made.append(e.RoundFinalised(**where, **final))
                started = made
                if number == rounds:
                    yield [*made, e.StudyFinished(**about, output=output)]
            else:
                yield made


def timed(work: Callable[[], object]) -> float:
    """Seconds of processor time: they hold on a busy machine, too."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def asked(work: Callable[[int], object]) -> tuple[float, float]:
    """Ask many times; gives the median and the slowest of a hundred, in milliseconds."""
    spent = sorted(timed(lambda at=at: work(at)) * 1e3 for at in range(ASKED))  # type: ignore[misc]
    return statistics.median(spent), spent[int(0.99 * ASKED)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit_index")
    parser.add_argument("--events", type=int, default=100_000)
    events = parser.parse_args().events
    with tempfile.TemporaryDirectory() as folder:
        measure(events, Path(folder) / "index.sqlite", Console())


def measure(events: int, path: Path, console: Console) -> None:
    """Index, ask, fold and judge a chain of about so many events."""
    rounds = max(1, events // (5 + SITES + 5))
    chain = MemoryChain()
    for block in history(chain.chain_id, rounds):
        chain.mine(*(encode_log(STUDY if hasattr(event, "study") else CONSORTIUM, event) for event in block))
    genesis = bytes.fromhex(chain.call("eth_getBlockByNumber", "0x0", False)["hash"][2:])
    ledger = Ledger(chain, Deployment(chain.chain_id, genesis, CONSORTIUM, STUDY, 1))
    store = IndexStore.open(path, ledger.deployment)
    indexer, queries = Indexer(ledger, store), Queries(store)
    rows: list[tuple[str, str]] = []
    seconds = timed(indexer.catch_up)
    count = store.count()
    blocks = int(chain.call("eth_blockNumber"), 16)
    rows.append((f"index {count:,} events of {blocks:,} blocks from nothing", f"{seconds:.2f} s"))
    rows.append(("size of the index", f"{path.stat().st_size / 1e6:.0f} MB"))
    follow(chain, indexer, rows)
    questions: dict[str, Callable[[int], object]] = {
        "a page of 100 events of one round": lambda at: queries.events(EventFilter(study=1, round=1 + at % rounds)),
        "a page of 100 events of one site": lambda at: queries.events(
            EventFilter(site=address(at % SITES)), after=(at, 0)
        ),
        "what a hash is": lambda at: queries.mentions(blob(1 + at % rounds, at % SITES)),
        "events counted by kind": lambda at: queries.counts(EventFilter(study=1)),
    }
    for what, ask in questions.items():
        middle, slow = asked(ask)
        rows.append((what, f"{middle:.1f} ms; 99 of 100 within {slow:.1f} ms"))
    whole = queries.all_events()
    rows.append(("read all events back", f"{timed(queries.all_events):.2f} s"))
    rows.append(("fold them to the ledger's state", f"{timed(queries.state):.2f} s, reading included"))
    blocks_known = {event.at.block: Block(event.at.block, event.at.block_hash, event.at.timestamp) for event in whole}
    record = Record(ledger.deployment, 1, tuple(whole), blocks_known)
    rows.append((f"judge a study of {rounds:,} rounds by every rule", f"{timed(lambda: judge(record)):.2f} s"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    rows.append(("most memory, the chain in memory included", f"{peak:.0f} MB"))
    store.close()
    table = Table(show_header=False)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def follow(chain: MemoryChain, indexer: Indexer, rows: list[tuple[str, str]]) -> None:
    """One block more, again and again."""
    spent = []
    for _ in range(ASKED):
        chain.mine()
        spent.append(timed(indexer.catch_up) * 1e3)
    spent.sort()
    rows.append(
        (
            "follow one new block",
            f"{statistics.median(spent):.1f} ms; 99 of 100 within {spent[int(0.99 * ASKED)]:.1f} ms",
        )
    )


if __name__ == "__main__":
    main()
