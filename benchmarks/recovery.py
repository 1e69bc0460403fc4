"""What a killed leader costs, with constant deadlines and with measured ones: `python -m benchmarks.recovery`."""

import argparse
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from benchmarks.errors import BenchmarkFailed
from ledger.client import Ledger
from ledger.devnet import Devnet
from ledger.rpc import connect
from ledger.stream import EventStream
from node.demo.cluster import Cluster, SiteProcess
from node.demo.scene import SitePlan, set_up, with_rounds
from node.demo.watch import Watcher
from swarm import studies
from swarm.memory_store import MemoryStore
from swarm.models import write_initial

SITES = 4
ROUNDS = 8
KILLED_IN = 5
LIMIT = 60
LEAST = (LIMIT, 10, 2)
"""The study's `least_seconds`: as long as its limits, which makes deadlines constant; the default; and shorter."""
PATIENCE = 900.0
POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds of a round before, of the one whose leader is killed, and of the two after it without that site."""

    least: int
    before: float
    killed: float
    after: tuple[float, ...]
    allowed: int


def recover(least: int, folder: Path) -> Recovery:
    """Run a study whose leader is killed before it publishes; raises BenchmarkFailed where it doesn't get over it."""
    folder.mkdir(parents=True)
    limits = {f"{phase}_seconds": LIMIT for phase in ("collect", "grace", "merge", "review")}
    draft = with_rounds(
        studies.draft("breast-cancer"), ROUNDS, SITES - 1, 0, **limits, accept_seconds=600, least_seconds=least
    )
    spec = draft.with_initial(write_initial(draft, MemoryStore()).blob)
    plans = [
        SitePlan(f"site-{index + 1}", {"source": "breast-cancer", "shard": index, "shards": SITES, "seed": 0})
        for index in range(SITES)
    ]
    with ExitStack() as stack:
        devnet = stack.enter_context(Devnet.start(folder / "chain"))
        scene = set_up(folder, devnet.ipc, spec, plans)
        death = ("--die-at", f"before-publish@{KILLED_IN}")
        stack.enter_context(Cluster([SiteProcess(home.name, home, death) for home in scene.homes]))
        rpc = stack.enter_context(closing(connect(devnet.ipc)))
        watcher = Watcher(EventStream(Ledger(rpc, scene.deployment)), scene.study)
        watcher.catch_up()
        deadline = time.monotonic() + PATIENCE
        while not watcher.ended:
            watcher.poll(lambda event: None)
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"the study is not over after {PATIENCE:.0f} s")
            time.sleep(POLL_SECONDS)
        took = {number: sum(phases.values()) for number, phases in watcher.clock.seconds.items()}
        lost = watcher.watched.round_numbered(KILLED_IN).terms[0]
    return Recovery(
        least=least,
        before=took[KILLED_IN - 1],
        killed=took[KILLED_IN],
        after=tuple(took[number] for number in range(KILLED_IN + 1, ROUNDS + 1)),
        allowed=lost.deadline - lost.at.timestamp,
    )


def table(found: list[Recovery]) -> Table:
    """The runs, side by side."""
    title = f"Seconds of rounds of {SITES} sites whose limits are {LIMIT} s; the leader of round {KILLED_IN} is killed"
    shown = Table(title=title, title_justify="left", box=MARKDOWN)
    after = (f"round {number}, without it" for number in range(KILLED_IN + 1, ROUNDS + 1))
    for column in ("least seconds", f"round {KILLED_IN - 1}", "its deadline", f"round {KILLED_IN}", *after):
        shown.add_column(column, justify="right")
    for one in found:
        name = f"{one.least} (constant)" if one.least >= LIMIT else str(one.least)
        seconds = (f"{value:.1f}" for value in (one.killed, *one.after))
        shown.add_row(name, f"{one.before:.1f}", str(one.allowed), *seconds)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery", description=__doc__)
    parser.add_argument("--least", type=int, nargs="+", default=list(LEAST), help="least seconds to try (60 10 2)")
    options = parser.parse_args()
    progress = Console(stderr=True, highlight=False, soft_wrap=True)
    folder = Path(tempfile.mkdtemp(prefix="swarm-recovery-"))
    found = []
    try:
        for least in options.least:
            found.append(recover(least, folder / str(least)))
            progress.print(str(found[-1]))
    except BenchmarkFailed as failure:
        progress.print(f"[red]failed:[/red] {failure}")
        sys.exit(1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    Console(width=None if sys.stdout.isatty() else 150).print(table(found))


if __name__ == "__main__":
    main()
