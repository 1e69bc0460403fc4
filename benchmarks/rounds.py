"""What a round costs, for several numbers of sites and two sizes of model: `python -m benchmarks`, or `make bench`."""

import argparse
import json
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from benchmarks import plain_tcp
from benchmarks.errors import BenchmarkFailed
from benchmarks.plain_tcp import Exchange
from benchmarks.processes import KINDS
from benchmarks.swarm_case import SPLIT, Case, Result, measure

SMALL = (64, 32)  # 4,130 parameters, 16.5 KB
LARGE = (4983, 4983)  # 25.0 million parameters, 100 MB
QUICK_LARGE = (1564, 1564)  # 2.5 million parameters, 10 MB
ROUNDS = {False: 32, True: 12}
SEVERAL_CHUNKS = 1 << 20
TCP_ROUNDS = 3
WIDTH = 110  # of a report that goes to a file
BAR_SECONDS = 0.39
BAR_CPU_SECONDS = 0.3
BAR_MB_PER_SECOND = 80.0


@dataclass(frozen=True, slots=True)
class Plain:
    """Plain TCP exchanges of as many bytes as a case's sites receive in a round."""

    result: Result
    exchanges: tuple[Exchange, ...]

    @property
    def mb_per_second(self) -> float:
        return median(one.mb_per_second for one in self.exchanges)

    @property
    def cpu_seconds(self) -> float:
        return median(one.cpu_seconds for one in self.exchanges)


def cases(quick: bool, sites: Sequence[int]) -> list[Case]:
    """What is measured, the quickest first."""
    if quick:
        return [Case(4, 6, SMALL, False), Case(4, 4, SMALL, True), Case(4, 4, QUICK_LARGE, False)]
    small = [Case(count, ROUNDS[trains], SMALL, trains) for trains in (False, True) for count in sites]
    return [*small, Case(4, 6, LARGE, False)]


def main() -> None:
    options = _options()
    progress = Console(stderr=True, highlight=False, soft_wrap=True)
    folder = Path(tempfile.mkdtemp(prefix="swarm-bench-", dir=options.folder))
    results: list[Result] = []
    plain: list[Plain] = []
    try:
        for number, case in enumerate(cases(options.quick, options.sites)):
            progress.print(f"{case}: {case.rounds} rounds, the processes start ...")
            result = measure(case, folder / str(number), progress.print)
            results.append(result)
            progress.print(f"{case}: {result.seconds:.3f} s and {result.cpu_seconds:.3f} CPU s a round")
            if case.parameters > SEVERAL_CHUNKS:
                plain.append(Plain(result, tuple(plain_tcp.exchange(case.sites, 4 * case.parameters, TCP_ROUNDS))))
            shutil.rmtree(folder / str(number))
    except BenchmarkFailed as failure:
        progress.print(f"[red]failed:[/red] {failure}")
        sys.exit(1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report(Console(width=None if sys.stdout.isatty() else WIDTH), results, plain)
    if options.json is not None:
        options.json.write_text(json.dumps(record(results, plain), indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run: few rounds, 4 sites, a 10 MB model")
    parser.add_argument("--sites", type=int, nargs="+", default=[4, 8, 16], help="numbers of sites (4 8 16)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    parser.add_argument("--folder", type=Path, help="where to put 4 GB of models for the while (the system's default)")
    return parser.parse_args()


def report(console: Console, results: Sequence[Result], plain: Sequence[Plain]) -> None:
    """Print the tables."""
    for table in (_costs(results), _split(results), _ledger(results), _memory(results), _exchange(plain)):
        console.print(table)
        console.print()
    for line in _bars(results, plain):
        console.print(line, highlight=False)


def _table(title: str, caption: str, *columns: str) -> Table:
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left", box=MARKDOWN)
    for column in ("sites", "model", "trains", *columns):
        table.add_column(column, justify="right")
    return table


def _swarm(case: Case) -> tuple[str, str, str]:
    return str(case.sites), case.model, "yes" if case.trains else "no"


def _costs(results: Sequence[Result]) -> Table:
    caption = "CPU: all processes of a kind together. Others: cores that other programs kept busy meanwhile."
    columns = ("seconds", "least", "most", "CPU s", *KINDS, "others")
    table = _table("Seconds (median) and CPU seconds per round", caption, *columns)
    for result in results:
        seconds = (result.seconds, min(result.rounds), max(result.rounds), result.cpu_seconds)
        cpu = (result.cpu[kind] for kind in KINDS)
        figures = (f"{figure:.3f}" for figure in (*seconds, *cpu))
        table.add_row(*_swarm(result.case), *figures, f"{result.others:.1f}")
    return table


def _split(results: Sequence[Result]) -> Table:
    caption = "Means over sites and rounds. Activities overlap; waiting is when none is under way at a site."
    table = _table("Seconds per round and site", caption, *SPLIT)
    for result in results:
        table.add_row(*_swarm(result.case), *(f"{result.split[name]:.3f}" for name in SPLIT))
    return table


def _ledger(results: Sequence[Result]) -> Table:
    caption = "Received: bytes of frames from other sites over libp2p. Reverted: transactions of the whole run."
    columns = ("transactions", "gas", "call data", "received", "reverted")
    table = _table("Transactions, gas and bytes per round and site", caption, *columns)
    for result in results:
        amounts = (f"{amount:,.0f}" for amount in (result.gas, result.call_bytes, result.received_bytes))
        table.add_row(*_swarm(result.case), f"{result.transactions:.2f}", *amounts, str(result.reverted))
    return table


def _memory(results: Sequence[Result]) -> Table:
    caption = "Start: seconds from the first process to the end of round 1."
    table = _table("Peak memory of the largest process of a kind, MB", caption, *KINDS, "start")
    for result in results:
        peaks = (f"{result.peak_bytes[kind] / 1e6:,.0f}" for kind in KINDS)
        table.add_row(*_swarm(result.case), *peaks, f"{result.start_seconds:.0f}")
    return table


def _exchange(plain: Sequence[Plain]) -> Table:
    caption = (
        "MB/s: bytes that all sites received in a round, over the seconds that the slowest was receiving (over the "
        "whole round). TCP: the same bytes between as many processes, not verified, kept or encrypted."
    )
    columns = ("MB", "MB/s", "of round", "TCP MB/s", "ratio", "CPU s", "TCP CPU s")
    table = _table("Verified exchange of models beside plain TCP", caption, *columns)
    for one in plain:
        result = one.result
        rates = (result.exchange_mb_per_second, result.round_mb_per_second, one.mb_per_second)
        table.add_row(
            *_swarm(result.case),
            f"{result.received_bytes * result.case.sites / 1e6:,.0f}",
            *(f"{rate:,.0f}" for rate in rates),
            f"{result.exchange_mb_per_second / one.mb_per_second:.3f}",
            f"{result.cpu_seconds:.2f}",
            f"{one.cpu_seconds:.2f}",
        )
    return table


def _bars(results: Sequence[Result], plain: Sequence[Plain]) -> list[str]:
    lines = []
    for result in results:
        if (result.case.sites, result.case.hidden, result.case.trains) == (4, SMALL, False):
            lines += [
                _bar("4 sites, 16 KB: seconds per round", result.seconds, BAR_SECONDS, below=True),
                _bar("4 sites, 16 KB: CPU seconds per round", result.cpu_seconds, BAR_CPU_SECONDS, below=True),
            ]
    lines += [
        _bar(f"{one.result.case}: verified MB/s", one.result.exchange_mb_per_second, BAR_MB_PER_SECOND, below=False)
        for one in plain
        if one.result.case.hidden == LARGE
    ]
    return lines


def _bar(what: str, value: float, bar: float, *, below: bool) -> str:
    met = value <= bar if below else value >= bar
    verdict = "[green]met[/green]" if met else "[red]not met[/red]"
    return f"{what}: {value:.3g}; the bar is {'at most' if below else 'at least'} {bar:g}: {verdict}"


def record(results: Sequence[Result], plain: Sequence[Plain]) -> dict[str, Any]:
    """Everything that was measured, and where."""
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {
            "system": platform.platform(),
            "cores": psutil.cpu_count(),
            "memory_bytes": psutil.virtual_memory().total,
            "python": platform.python_version(),
        },
        "swarms": [result.record() for result in results],
        "exchanges": [
            {
                "what": str(one.result.case),
                "mb_per_second": one.result.exchange_mb_per_second,
                "plain_tcp_mb_per_second": one.mb_per_second,
                "plain_tcp": [asdict(item) for item in one.exchanges],
            }
            for one in plain
        ],
    }
