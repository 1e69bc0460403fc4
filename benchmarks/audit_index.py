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
from collections.abc import Callable
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
EVERYBODY = (1 << SITES) - 1
PHASE_SECONDS = 3600


def address(seat: int) -> str:
    return "0x" + f"{seat + 1:02d}" * 20


def blob(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


class Script:
    """The events of one study, block by block: every site commits, all attest, each round is final."""

    def __init__(self, chain_id: int, rounds: int) -> None:
        self.rounds = rounds
        self.blocks: list[list[Event]] = []
        self._about = {"at": HERE, "study": 1}
        self._links = [self._chain(seat) for seat in range(SITES)]
        spec = b"{}"
        self._spec_hash = hashlib.sha256(spec).digest()
        self._found(spec)
        self._seed = genesis_seed(chain_id, STUDY, 1, self._spec_hash)
        waiting: list[Event] = [e.StudyStarted(**self._about, participants=EVERYBODY, seed=self._seed)]
        for number in range(1, rounds + 1):
            waiting = self._round(number, waiting)
        self.blocks.append([*waiting, e.StudyFinished(**self._about, output=blob("output", rounds))])

    def _chain(self, seat: int) -> list[bytes]:
        links = [blob("chain", seat)]
        while len(links) < self.rounds + 2:
            links.append(keccak256(links[-1]))
        return links

    def _deadline(self) -> int:
        """The deadline of a phase that the next block begins; the chain in memory has a block each second."""
        return 1_700_000_000 + len(self.blocks) + 1 + PHASE_SECONDS

    def _found(self, spec: bytes) -> None:
        founding: list[Event] = [e.ConsortiumFounded(at=HERE, quorum_bps=6667, motion_seconds=600)]
        founding += [
            e.SiteAdmitted(at=HERE, site=address(seat), seat=seat, name=f"site-{seat}") for seat in range(SITES)
        ]
        self.blocks.append(founding)
        draft = Terms(**asdict(studies.draft("breast-cancer").terms()))
        phases = dict.fromkeys(("collect_seconds", "merge_seconds", "review_seconds", "least_seconds"), PHASE_SECONDS)
        terms = replace(draft, rounds=self.rounds, statistics=False, min_sites=2, **phases)
        what = {"spec": spec, "spec_hash": self._spec_hash, "terms": terms, "accept_deadline": 1 << 60}
        self.blocks.append([e.StudyProposed(**self._about, proposer=address(0), **what)])
        for seat in range(SITES):
            who = {"site": address(seat), "seat": seat, "tip": self._links[seat][self.rounds + 1]}
            self.blocks.append([e.StudyAccepted(**self._about, **who, spec_hash=self._spec_hash, from_round=1)])

    def _round(self, number: int, waiting: list[Event]) -> list[Event]:
        """One round, from its opening to its finality, which is left waiting for the next one's opening."""
        where = {**self._about, "round": number}
        opened = e.RoundOpened(**where, attempt=0, eligible=EVERYBODY, deadline=self._deadline())
        self.blocks.append([*waiting, opened])
        reveals = [self._links[seat][self.rounds + 1 - number] for seat in range(SITES)]
        self._seed = next_seed(self._seed, mix(enumerate(reveals)), number, 0)
        leader = elect(self._seed, 0, EVERYBODY)
        led = {"leader": address(leader), "term": 0}
        for seat, reveal in enumerate(reveals):
            commitment = Commitment(blob(number, seat), 10 + seat, 0, reveal, len(self.blocks), bytes(32))
            self.blocks.append(
                [e.UpdateCommitted(**where, site=address(seat), attempt=0, seat=seat, commitment=commitment)]
            )
        self.blocks[-1].append(e.RoundSealed(**where, attempt=0, committed=EVERYBODY, seed=self._seed))
        self.blocks[-1].append(e.LeaderElected(**where, **led, seat=leader, deadline=self._deadline() - 1))
        output = blob("output", number)
        said = {"output": output, "merged": EVERYBODY, "reasons": b"", "deadline": self._deadline()}
        self.blocks.append([e.ModelPublished(**where, **led, **said)])
        voters = [seat for seat in range(SITES) if seat != leader][:5]
        for seat in voters:
            self.blocks.append([e.OutputAttested(**where, site=address(seat), term=0, seat=seat, output=output)])
        attested = sum(1 << seat for seat in voters) | 1 << leader
        final = e.RoundFinalised(**where, term=0, output=output, merged=EVERYBODY, attested=attested)
        return [*self.blocks.pop(), final]


def history(chain_id: int, rounds: int) -> list[list[Event]]:
    return Script(chain_id, rounds).blocks


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
