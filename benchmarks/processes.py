"""CPU seconds and peak memory of a swarm's processes, by what they are for."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

SITE, TRAINING, CHAIN = "site", "training", "chain"
KINDS = (SITE, TRAINING, CHAIN)


@dataclass(frozen=True, slots=True)
class Processes:
    """The sites' processes, each with its training process below it, and the chain's: anvil and what keeps it."""

    sites: tuple[int, ...]
    chain: int

    def cpu_seconds(self) -> Counter[str]:
        """User and system seconds that each kind has used so far, those of ended children included."""
        used: Counter[str] = Counter()
        for kind, process in self._each():
            times = process.cpu_times()
            used[kind] += times.user + times.system
            used[TRAINING if kind is SITE else kind] += times.children_user + times.children_system
        return used

    def peak_bytes(self) -> dict[str, int]:
        """The most memory that a process of each kind held at once, since it was started."""
        peaks = dict.fromkeys(KINDS, 0)
        for kind, process in self._each():
            peaks[kind] = max(peaks[kind], _peak(process))
        return peaks

    def resident_bytes(self) -> dict[str, int]:
        """The memory that the processes of each kind hold now, together."""
        held = dict.fromkeys(KINDS, 0)
        for kind, process in self._each():
            held[kind] += process.memory_info().rss
        return held

    def _each(self) -> Iterator[tuple[str, psutil.Process]]:
        for pid in self.sites:
            site = psutil.Process(pid)
            yield SITE, site
            for child in site.children(recursive=True):
                yield TRAINING, child
        chain = psutil.Process(self.chain)
        for process in (chain, *chain.children(recursive=True)):
            yield CHAIN, process


def machine_cpu_seconds() -> float:
    """CPU seconds that this machine has spent on anything."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + getattr(times, "irq", 0.0) + getattr(times, "softirq", 0.0)


def _peak(process: psutil.Process) -> int:
    """The high-water mark where the system keeps one, else what the process holds now."""
    status = Path(f"/proc/{process.pid}/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    resident: int = process.memory_info().rss
    return resident
