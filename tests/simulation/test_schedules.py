"""Random histories of a swarm: what must never happen never does, and what can go on goes on.

Each example is one schedule: so many sites, which of them lie and how, who dies when, whose chain or network fails.
`SWARM_SCHEDULES=1000 pytest tests/simulation/test_schedules.py -s` runs as many as it says, and shows how far it is.
A failing schedule is printed as a value: give it to `simulate` and the same history happens again.
"""

import os
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from sim_schedule import Schedule, schedules
from sim_swarm import Report, simulate

DEFAULT = 60
SCHEDULES = int(os.environ.get("SWARM_SCHEDULES", DEFAULT))
SHARED_MEMORY = Path("/dev/shm")  # a site's folder is flushed for real, and a simulated power cut needs no disk


class Tally:
    """What the schedules so far came to."""

    def __init__(self) -> None:
        self.numbers: Counter[str] = Counter()

    def add(self, schedule: Schedule, report: Report) -> None:
        self.numbers.update(
            schedules=1,
            quorum=schedule.has_quorum,
            finished=report.status.name == "FINISHED",
            stranded=report.stranded,
            finals=len(report.audit.finals),
            restarts=report.starts - schedule.sites,
            refused=report.refused,
        )
        self.numbers["virtual_seconds"] += int(report.seconds)
        self.numbers.update({f"event {name}": count for name, count in report.audit.seen.items()})
        self.numbers.update({f"leader {fault.name}": count for fault, count in report.audit.faults.items()})
        self.numbers.update({f"lie {lie}": count for lie, count in report.lies.items()})
        self.numbers.update(f"trouble {mishap.trouble}" for mishap in schedule.mishaps)


def test_no_schedule_breaks_safety_and_a_quorum_always_finishes() -> None:
    tally = Tally()

    # The few that run by default are always the same: what is new is for a run of many, and for whoever looks at it.
    @settings(
        max_examples=SCHEDULES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        derandomize=SCHEDULES == DEFAULT,
    )
    @given(schedules())
    def live(schedule: Schedule) -> None:
        with tempfile.TemporaryDirectory(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None) as folder:
            tally.add(schedule, simulate(schedule, Path(folder)))
        if tally.numbers["schedules"] % 100 == 0:
            print(dict(tally.numbers), flush=True)

    live()
    print(dict(tally.numbers))
