"""What distance costs: rounds of four sites on links that delay, lose and limit. `python -m benchmarks.wide_area`

It needs root, for network namespaces (tests/wan/lab), and prints the tables of benchmarks/README.md.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from benchmarks.errors import BenchmarkFailed
from benchmarks.rounds import SMALL, WIDTH
from benchmarks.swarm_case import ROUND_SECONDS, START_SECONDS, Case, Timings, follow_to, plan_case, read_timings
from ledger.client import Ledger
from ledger.rpc import connect
from ledger.stream import EventStream
from node.demo.cluster import Cluster, SiteProcess
from node.demo.scene import SitePlan, set_up
from node.demo.watch import Watcher
from tests.wan.lab import CHAIN_URL, Lab, Machine, Shape, missing

LARGE = (1000, 1000)  # 1.03 million parameters, 4.1 MB
SITES = 4
ROUNDS = {SMALL: 10, LARGE: 5}
PATIENCE_FACTOR = 5.0
RUN = (sys.executable, "-m", "node.cli", "run")
SITE = {"rpc": CHAIN_URL, "listen": "/ip4/0.0.0.0/tcp/4001", "poll_seconds": 0.25}
DELAYS = 5
"""One-way delays that follow on one another in the quickest round that there could be: a commit reaches all others by
way of the chain, an update is asked for and comes, a publication and then the last attestation reach all others."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What all sites' links are like, and which congestion control their TCP has."""

    shape: Shape
    congestion: str = "reno"

    def __str__(self) -> str:
        shape = self.shape
        parts = [f"{shape.delay_ms:g} ms"] if shape.delay_ms else []
        parts += [f"{shape.loss:.0%} lost"] if shape.loss else []
        parts += [f"{shape.rate_mbit:g} Mbit/s"] if shape.rate_mbit else []
        parts += [self.congestion.upper()] if self.congestion != "reno" else []
        return ", ".join(parts) or "nothing"


@dataclass(frozen=True, slots=True)
class Result:
    """A round of one case under one condition; means over sites and measured rounds, but for the seconds' median."""

    condition: Condition
    case: Case
    seconds: float
    transfer: float
    waiting: float
    received_bytes: float
    link_cpu: float

    def ideal(self, unimpeded: "Result") -> float:
        """The round without distance, and what no protocol could save: delays in a row, and bytes at the rate."""
        shape = self.condition.shape
        sending = self.received_bytes * 8e-6 / shape.rate_mbit if shape.rate_mbit else 0.0
        return unimpeded.seconds + DELAYS * shape.delay_ms / 1000 + sending


def conditions(quick: bool) -> list[Condition]:
    """What is measured; the first one is what the others are held against."""
    if quick:
        return [Condition(Shape()), Condition(Shape(delay_ms=50, rate_mbit=20))]
    shapes = [
        Shape(),
        Shape(delay_ms=50),
        Shape(delay_ms=150),
        Shape(delay_ms=20, rate_mbit=20),
        Shape(delay_ms=50, loss=0.01),
        Shape(delay_ms=150, loss=0.01, rate_mbit=20),
    ]
    return [*map(Condition, shapes), Condition(shapes[-1], "bbr")]


def measure(condition: Condition, case: Case, folder: Path) -> Result:
    """Run a case in a lab, in a folder that isn't there yet; raises BenchmarkFailed."""
    folder.mkdir(parents=True)
    spec, plans = plan_case(case, folder)
    with ExitStack() as stack:
        lab = stack.enter_context(Lab(congestion=condition.congestion))
        machines = [lab.site(one.name, **asdict(condition.shape)) for one in plans]
        chain = f"ipc://{lab.start_chain(folder / 'chain')}"
        scene = set_up(folder, chain, spec, [_settled(one) for one in plans])
        sites = zip(scene.homes, machines, strict=True)
        cluster = stack.enter_context(Cluster([_process(home, machine) for home, machine in sites]))
        watcher = Watcher(
            EventStream(Ledger(stack.enter_context(closing(connect(chain))), scene.deployment)), scene.study
        )
        watcher.catch_up()
        follow_to(watcher, cluster, 1, START_SECONDS)
        before = lab.cpu_seconds()
        follow_to(watcher, cluster, case.measured[-1], PATIENCE_FACTOR * ROUND_SECONDS * case.rounds)
        timings = [read_timings(site.log, case.measured[-1]) for site in cluster.sites]
        return _result(condition, case, timings, lab.cpu_seconds() - before)


def _settled(site: SitePlan) -> SitePlan:
    return replace(site, config={**(site.config or {}), **SITE})


def _process(home: Path, machine: Machine) -> SiteProcess:
    return SiteProcess(home.name, home, command=machine.command(*RUN))


def _result(condition: Condition, case: Case, timings: Sequence[Timings], link_cpu: float) -> Result:
    measured = case.measured
    each = [site[number] for number in measured for site in timings if number in site]
    rounds = [median(site[number]["seconds"] for site in timings if number in site) for number in measured]
    return Result(
        condition=condition,
        case=case,
        seconds=median(rounds),
        transfer=fmean(one["transfer"] for one in each),
        waiting=fmean(one["waiting"] / one["seconds"] for one in each),
        received_bytes=fmean(site[measured[-1]]["received"] - site[1]["received"] for site in timings) / len(measured),
        link_cpu=link_cpu / sum(rounds),
    )


def report(console: Console, results: Sequence[Result]) -> None:
    """Print the table: one block for each size of model, its first row the one without distance."""
    table = Table(title="Rounds of four sites far apart", title_justify="left", box=MARKDOWN)
    for column in ("between two sites", "model", "seconds", "ideal", "overhead", "MB/s", "waiting"):
        table.add_column(column, justify="left" if column.startswith("between") else "right")
    first: dict[str, Result] = {}
    for result in results:
        ideal = result.ideal(first.setdefault(result.case.model, result))
        table.add_row(
            str(result.condition),
            result.case.model,
            f"{result.seconds:.2f}",
            f"{ideal:.2f}",
            f"{result.seconds / ideal:.1f}",
            f"{result.received_bytes / 1e6 / result.transfer:.2f}" if result.case.hidden == LARGE else "-",
            f"{result.waiting:.0%}",
        )
    console.print(table)


def main() -> None:
    options = _options()
    if (why := missing()) is not None:
        sys.exit(why)
    progress = Console(stderr=True, highlight=False, soft_wrap=True)
    folder = Path(tempfile.mkdtemp(prefix="swarm-bench-"))
    results: list[Result] = []
    try:
        for hidden in (SMALL, LARGE):
            for condition in conditions(options.quick):
                case = Case(SITES, 4 if options.quick else ROUNDS[hidden], hidden, trains=False)
                results.append(measure(condition, case, folder / str(len(results))))
                last = results[-1]
                progress.print(f"{case}, {condition}: {last.seconds:.2f} s; links {last.link_cpu:.0%} of a core")
    except BenchmarkFailed as failure:
        progress.print(f"[red]failed:[/red] {failure}")
        sys.exit(1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report(Console(width=None if sys.stdout.isatty() else WIDTH), results)
    if options.json is not None:
        options.json.write_text(json.dumps([record(one) for one in results], indent=2) + "\n")


def record(result: Result) -> dict[str, Any]:
    """Everything that was measured, for a file."""
    return {"what": f"{result.case}, {result.condition}", **asdict(result)}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wide_area", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two conditions and few rounds, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    return parser.parse_args()


if __name__ == "__main__":
    main()
