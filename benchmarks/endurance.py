"""Whether a swarm stays as it is over many rounds, in memory, time and disk: `python -m benchmarks.endurance`."""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Any

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from benchmarks.chain import chain
from benchmarks.errors import BenchmarkFailed
from benchmarks.processes import CHAIN, SITE, TRAINING, Processes
from benchmarks.swarm_case import (
    ROUND_SECONDS,
    START_SECONDS,
    Case,
    Timings,
    follow_to,
    plan_case,
    read_timings,
)
from ledger.client import Ledger
from ledger.rpc import connect
from ledger.stream import EventStream
from node.demo.cluster import Cluster, SiteProcess
from node.demo.scene import set_up
from node.demo.watch import Watcher

SMALL = (64, 32)
EVERY_ROUNDS = 5
QUARTERS = 4


@dataclass(frozen=True, slots=True)
class Sample:
    """What the swarm held at the end of a round; bytes of memory and disk are those of one site on average."""

    round: int
    at: float
    site: float
    training: float
    chain: float
    disk: float
    chain_disk: float
    block: int
    chain_cpu: float


@dataclass(frozen=True, slots=True)
class Quarter:
    """What a quarter of the rounds was like: medians over rounds, and what was held when it ended."""

    rounds: range
    seconds: float
    ledger: float
    last: Sample
    blocks: int
    chain_ms_per_block: float


def endure(case: Case, folder: Path, say: Callable[[str], None]) -> tuple[list[Sample], list[Timings]]:
    """Run a case in a folder that isn't there yet, and look at it every few rounds; raises BenchmarkFailed."""
    folder.mkdir(parents=True)
    spec, plans = plan_case(case, folder)
    with ExitStack() as stack:
        running = stack.enter_context(chain(folder / "chain"))
        scene = set_up(folder, running.ipc, spec, plans)
        cluster = stack.enter_context(Cluster([SiteProcess(home.name, home) for home in scene.homes]))
        rpc = stack.enter_context(closing(connect(running.ipc)))
        watcher = Watcher(EventStream(Ledger(rpc, scene.deployment)), scene.study)
        watcher.catch_up()
        processes = Processes(tuple(site.process.pid for site in cluster.sites), running.pid)
        samples = []
        for number in _looks(case.rounds):
            follow_to(watcher, cluster, number, START_SECONDS if number == 1 else ROUND_SECONDS * EVERY_ROUNDS)
            samples.append(_sample(number, watcher, processes, case.sites, folder))
            if number % 20 == 0:
                say(f"round {number}: {samples[-1].site / 1e6:.0f} MB a site")
        timings = [read_timings(site.log, case.measured[-1]) for site in cluster.sites]
    return samples, timings


def _looks(rounds: int) -> Iterator[int]:
    """After which rounds to look: the first one, every few, and the last but one, before anybody stops."""
    yield 1
    yield from range(EVERY_ROUNDS, rounds, EVERY_ROUNDS)


def _sample(number: int, watcher: Watcher, processes: Processes, sites: int, folder: Path) -> Sample:
    held = processes.resident_bytes()
    tip = watcher.stream.tip
    return Sample(
        round=number,
        at=time.monotonic(),
        site=held[SITE] / sites,
        training=held[TRAINING] / sites,
        chain=held[CHAIN],
        disk=_bytes_in(folder / "sites") / sites,
        chain_disk=_bytes_in(folder / "chain"),
        block=tip.number if tip else 0,
        chain_cpu=processes.cpu_seconds()[CHAIN],
    )


def _bytes_in(folder: Path) -> int:
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # an update whose time is over
                total += (Path(where) / name).lstat().st_size
    return total


def quarters(samples: Sequence[Sample], timings: Sequence[Timings], rounds: int) -> list[Quarter]:
    """Sum the rounds up, a quarter at a time; the first round counts for nothing, since the sites start in it."""
    bounds = [1 + (rounds - 2) * part // QUARTERS for part in range(QUARTERS + 1)]
    found = []
    for first, last in pairwise(bounds):
        numbers = range(first + 1, last + 1)
        begin = max((one for one in samples if one.round <= first), key=lambda one: one.round)
        end = max((one for one in samples if one.round <= last), key=lambda one: one.round)
        blocks = end.block - begin.block
        each = [site[number] for number in numbers for site in timings if number in site]
        found.append(
            Quarter(
                rounds=numbers,
                seconds=median(one["seconds"] for one in each),
                ledger=fmean(one["ledger"] for one in each),
                last=end,
                blocks=blocks,
                chain_ms_per_block=1e3 * (end.chain_cpu - begin.chain_cpu) / blocks if blocks else 0.0,
            )
        )
    return found


def table(case: Case, found: Sequence[Quarter]) -> Table:
    """The quarters, side by side."""
    shown = Table(title=f"{case.rounds} rounds of {case}", title_justify="left", box=MARKDOWN)
    columns = ("rounds", "s a round", "ledger s", "site MB", "training MB", "chain MB", "site disk MB", "chain disk MB")
    for column in (*columns, "blocks", "chain CPU ms a block"):
        shown.add_column(column, justify="right")
    for one in found:
        held = (one.last.site, one.last.training, one.last.chain, one.last.disk, one.last.chain_disk)
        shown.add_row(
            f"{one.rounds[0]}-{one.rounds[-1]}",
            f"{one.seconds:.3f}",
            f"{one.ledger:.3f}",
            *(f"{amount / 1e6:.1f}" for amount in held),
            str(one.blocks),
            f"{one.chain_ms_per_block:.2f}",
        )
    return shown


def draw(samples: Sequence[Sample], timings: Sequence[Timings], path: Path) -> None:
    """Draw memory and seconds over the rounds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    memory, seconds = figure.subplots(2, 1, sharex=True)
    numbers = [one.round for one in samples]
    for name in (SITE, TRAINING, CHAIN):
        memory.plot(numbers, [getattr(one, name) / 1e6 for one in samples], label=name)
    memory.set_ylabel("MB resident")
    memory.set_ylim(bottom=0)
    memory.legend(loc="center right")
    known = sorted(set.intersection(*(set(site) for site in timings)) - {0, 1})
    seconds.plot(known, [median(site[number]["seconds"] for site in timings) for number in known], linewidth=0.8)
    seconds.set_ylabel("seconds a round")
    seconds.set_xlabel("round")
    seconds.set_ylim(bottom=0)
    figure.savefig(path)


def record(case: Case, samples: Sequence[Sample], found: Sequence[Quarter]) -> dict[str, Any]:
    """Everything that was measured."""
    rows = [{**asdict(one), "rounds": [one.rounds[0], one.rounds[-1]]} for one in found]
    return {"what": str(case), "rounds": case.rounds, "samples": [asdict(one) for one in samples], "quarters": rows}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.endurance", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="number of rounds (200)")
    parser.add_argument("--sites", type=int, default=4, help="number of sites (4)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw memory and seconds over the rounds")
    options = parser.parse_args()
    progress = Console(stderr=True, highlight=False, soft_wrap=True)
    case = Case(options.sites, options.rounds, SMALL, trains=True)
    folder = Path(tempfile.mkdtemp(prefix="swarm-endurance-"))
    try:
        samples, timings = endure(case, folder / "swarm", progress.print)
    except BenchmarkFailed as failure:
        progress.print(f"[red]failed:[/red] {failure}")
        sys.exit(1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found = quarters(samples, timings, case.rounds)
    Console(width=None if sys.stdout.isatty() else 150).print(table(case, found))
    if options.plot is not None:
        draw(samples, timings, options.plot)
    if options.json is not None:
        options.json.write_text(json.dumps(record(case, samples, found), indent=2) + "\n")


if __name__ == "__main__":
    main()
