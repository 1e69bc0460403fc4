"""One swarm of real processes, measured: sites, training processes and a chain on this machine."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from statistics import fmean, median
from typing import Any

from benchmarks.chain import chain
from benchmarks.errors import BenchmarkFailed
from benchmarks.processes import KINDS, Processes, machine_cpu_seconds
from ledger.client import Ledger
from ledger.rpc import Rpc, connect
from ledger.stream import EventStream
from node.demo.cluster import Cluster, SiteProcess
from node.demo.scene import SitePlan, set_up, with_rounds
from node.demo.watch import Watcher
from node.rounds.stopwatch import Activity
from swarm import studies
from swarm.folder_store import FolderStore
from swarm.models import write_initial
from swarm.spec import StudySpec

# Nobody is replaced or left out because the machine is slow: that would be another measurement.
LIMITS = {
    "accept_seconds": 1800,
    "collect_seconds": 900,
    "grace_seconds": 900,
    "merge_seconds": 300,
    "review_seconds": 300,
    "least_seconds": 900,
}
START_SECONDS = 900.0
ROUND_SECONDS = 60.0
LOG_SECONDS = 30.0
POLL_SECONDS = 0.05
SPLIT = (*(activity.value for activity in Activity), "waiting")


@dataclass(frozen=True, slots=True)
class Case:
    """A swarm to measure; `hidden` are the widths of its network's layers, between 30 inputs and 2 classes."""

    sites: int
    rounds: int
    hidden: tuple[int, int]
    trains: bool

    @property
    def parameters(self) -> int:
        first, second = self.hidden
        return 31 * first + (first + 1) * second + 2 * (second + 1)

    @property
    def measured(self) -> range:
        """The rounds that count: what the first and the last one do is partly done in, or for, no round beside them."""
        return range(2, self.rounds)

    @property
    def model(self) -> str:
        """The model's size."""
        kilobytes = 4 * self.parameters / 1e3
        return f"{kilobytes:.1f} KB" if kilobytes < 1000 else f"{kilobytes / 1000:.0f} MB"

    def __str__(self) -> str:
        return f"{self.sites} sites, {self.model}, {'training' if self.trains else 'no training'}"


@dataclass(frozen=True, slots=True)
class Result:
    """What a round cost, over the rounds from the second to the last but one.

    A round lasts from the finality of the one before to its own, by each site's own clock; `rounds` has the median
    over the sites for each. The seconds of `split` are means over rounds and sites. CPU seconds are those of all
    processes of a kind together; gas and bytes are a site's. `others` is how many cores other programs kept busy.
    """

    case: Case
    start_seconds: float
    rounds: tuple[float, ...]
    split: Mapping[str, float]
    cpu: Mapping[str, float]
    transactions: float
    reverted: int
    gas: float
    call_bytes: float
    received_bytes: float
    exchanges: tuple[float, ...]
    peak_bytes: Mapping[str, int]
    others: float

    @property
    def seconds(self) -> float:
        """Median seconds of a round."""
        return median(self.rounds)

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of a round."""
        return sum(self.cpu.values())

    @property
    def exchange_mb_per_second(self) -> float:
        """Bytes that all sites received in a round, over the seconds that the slowest of them was receiving."""
        return self.received_bytes * self.case.sites / 1e6 / median(self.exchanges)

    @property
    def round_mb_per_second(self) -> float:
        """The same over the whole round."""
        return self.received_bytes * self.case.sites / 1e6 / self.seconds

    def record(self) -> dict[str, Any]:
        """Everything, for a file."""
        totals = {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds}
        return {"what": str(self.case), "parameters": self.case.parameters, **totals, **asdict(self)}


@dataclass(frozen=True, slots=True)
class _Reading:
    """Counters at one moment."""

    at: float
    block: int
    cpu: Counter[str]
    peak_bytes: Mapping[str, int]
    machine: float


@dataclass(frozen=True, slots=True)
class _Usage:
    """What the blocks between two readings hold."""

    transactions: int
    reverted: int
    gas: int
    bytes: int


Timings = Mapping[int, Mapping[str, float]]
"""A site's `round_timing` lines by round."""


def measure(case: Case, folder: Path, say: Callable[[str], None]) -> Result:
    """Run a case in a folder that isn't there yet; raises BenchmarkFailed."""
    folder.mkdir(parents=True)
    begun = time.monotonic()
    spec, plans = plan_case(case, folder)
    with ExitStack() as stack:
        running = stack.enter_context(chain(folder / "chain"))
        scene = set_up(folder, running.ipc, spec, plans)
        cluster = stack.enter_context(Cluster([SiteProcess(home.name, home) for home in scene.homes]))
        rpc = stack.enter_context(closing(connect(running.ipc)))
        watcher = Watcher(EventStream(Ledger(rpc, scene.deployment)), scene.study)
        watcher.catch_up()
        processes = Processes(tuple(site.process.pid for site in cluster.sites), running.pid)
        follow_to(watcher, cluster, 1, START_SECONDS)
        first = _read(watcher, processes)
        say(f"{case}: round 1 is final after {first.at - begun:.0f} s")
        follow_to(watcher, cluster, case.measured[-1], ROUND_SECONDS * case.rounds)
        last = _read(watcher, processes)
        timings = [read_timings(site.log, case.measured[-1]) for site in cluster.sites]
        usage = _usage(rpc, first.block, last.block)
    return _result(case, first.at - begun, (first, last), usage, timings)


def plan_case(case: Case, folder: Path) -> tuple[StudySpec, list[SitePlan]]:
    """The study of a case, whose initial model it writes, and its sites."""
    record = studies.draft("breast-cancer").model_dump(mode="json")
    record["model"]["parameters"] = {"hidden": list(case.hidden)}
    record["data"]["standardise"] = case.trains
    record["round"]["retention_rounds"] = 1
    draft = with_rounds(StudySpec.model_validate(record), case.rounds, ceil(2 * case.sites / 3), 0, **LIMITS)
    initial = folder / "initial"
    spec = draft.with_initial(write_initial(draft, FolderStore(initial, durable=False)).blob)
    return spec, [_site(case, index, initial) for index in range(case.sites)]


def _site(case: Case, index: int, initial: Path) -> SitePlan:
    name = f"site-{index + 1}"
    if case.trains:
        return SitePlan(name, {"source": "breast-cancer", "shard": index, "shards": case.sites, "seed": 0})
    worker = [sys.executable, "-m", "benchmarks.noise_worker"]
    return SitePlan(name, {"seed": index, "initial": str(initial)}, {"worker": worker})


def follow_to(watcher: Watcher, cluster: Cluster, number: int, patience: float) -> None:
    """Follow the ledger until a round is final."""
    deadline = time.monotonic() + patience
    while not _is_final(watcher, number):
        watcher.poll(lambda event: None)
        dead = cluster.dead()
        if dead or (watcher.ended and not _is_final(watcher, number)) or time.monotonic() > deadline:
            logs = "\n".join(f"{site.name}: {site.last_words()}" for site in dead or cluster.sites)
            raise BenchmarkFailed(f"round {number} is not final after {patience:.0f} s, or a site has ended:\n{logs}")
        time.sleep(POLL_SECONDS)


def _is_final(watcher: Watcher, number: int) -> bool:
    return any(one.number == number and one.final is not None for one in watcher.watched.rounds)


def _read(watcher: Watcher, processes: Processes) -> _Reading:
    tip = watcher.stream.tip
    return _Reading(
        at=time.monotonic(),
        block=tip.number if tip else 0,
        cpu=processes.cpu_seconds(),
        peak_bytes=processes.peak_bytes(),
        machine=machine_cpu_seconds(),
    )


def read_timings(log: Path, last: int) -> Timings:
    """Read what a site says of each round, once it has said it of the last one."""
    deadline = time.monotonic() + LOG_SECONDS
    while True:
        lines = [line for line in log.read_text().splitlines() if '"round_timing"' in line and line.endswith("}")]
        said = {line["round"]: line for line in map(json.loads, lines)}
        if last in said:
            return said
        if time.monotonic() > deadline:
            raise BenchmarkFailed(f"{log} says nothing of round {last}")
        time.sleep(POLL_SECONDS)


def _usage(rpc: Rpc, after: int, until: int) -> _Usage:
    """Add up the transactions in the blocks after one and up to another."""
    calls, receipts = [], []
    for number in range(after + 1, until + 1):
        calls += rpc.call("eth_getBlockByNumber", hex(number), True)["transactions"]
    receipts = [rpc.call("eth_getTransactionReceipt", call["hash"]) for call in calls]
    return _Usage(
        transactions=len(calls),
        reverted=sum(int(receipt["status"], 16) == 0 for receipt in receipts),
        gas=sum(int(receipt["gasUsed"], 16) for receipt in receipts),
        bytes=sum((len(call["input"]) - 2) // 2 for call in calls),
    )


def _result(
    case: Case,
    start_seconds: float,
    readings: tuple[_Reading, _Reading],
    usage: _Usage,
    timings: Sequence[Timings],
) -> Result:
    first, last = readings
    measured = case.measured
    each = [(number, site) for number in measured for site in timings if number in site]
    used = {kind: last.cpu[kind] - first.cpu[kind] for kind in KINDS}
    rounds, site_rounds = len(measured), len(measured) * case.sites
    return Result(
        case=case,
        start_seconds=start_seconds,
        rounds=tuple(median(site[number]["seconds"] for site in timings if number in site) for number in measured),
        split={name: fmean(site[number][name] for number, site in each) for name in SPLIT},
        cpu={kind: seconds / rounds for kind, seconds in used.items()},
        transactions=usage.transactions / site_rounds,
        reverted=usage.reverted,
        gas=usage.gas / site_rounds,
        call_bytes=usage.bytes / site_rounds,
        received_bytes=fmean(site[measured[-1]]["received"] - site[1]["received"] for site in timings) / rounds,
        exchanges=tuple(max(site[number]["transfer"] for site in timings if number in site) for number in measured),
        peak_bytes={kind: max(first.peak_bytes[kind], last.peak_bytes[kind]) for kind in KINDS},
        others=max(0.0, last.machine - first.machine - sum(used.values())) / (last.at - first.at),
    )
