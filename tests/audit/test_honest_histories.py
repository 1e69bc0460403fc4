"""An honest history raises no alarm, whatever went wrong in it: crashes, cuts, departures, late sites, and liars too.

The histories are those of the simulated swarm: production's own round loop against the contracts' twin, under random
schedules. `SWARM_HONEST_RUNS=200 pytest tests/audit/test_honest_histories.py` runs as many as it says.
"""

import hashlib
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from ledger.audit.record import Record
from ledger.audit.rules import RULES, judge
from ledger.audit.verdict import Outcome, Verdict
from ledger.deployment import Deployment
from ledger.types import Block

sys.path.append(str(Path(__file__).resolve().parent.parent / "simulation"))

from sim_chain import CHAIN_ID, CONTRACT
from sim_schedule import Lie, Schedule, schedules
from sim_swarm import Report, simulate

DEFAULT = 8
RUNS = int(os.environ.get("SWARM_HONEST_RUNS", DEFAULT))
SHARED_MEMORY = Path("/dev/shm")


def record_of(report: Report) -> Record:
    """The record of a simulated history: its events, its blocks, and all that its sites made."""
    times = {event.at.block: event.at.timestamp for event in report.history}
    last = max(times)
    hashes = {number: hashlib.sha256(f"block {number}".encode()).digest() for number in range(last + 1)}
    blocks = {number: Block(number, digest, times.get(number, 0)) for number, digest in hashes.items()}
    deployment = Deployment(CHAIN_ID, bytes(32), CONTRACT, CONTRACT, 0)
    return Record(deployment, 1, report.history, blocks, store=report.audit.archive)


def verdicts(schedule: Schedule) -> Iterator[Verdict]:
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None) as folder:
        yield from judge(record_of(simulate(schedule, Path(folder))))


def test_an_honest_history_raises_no_alarm() -> None:
    tally: Counter[str] = Counter()

    @settings(
        max_examples=RUNS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        derandomize=RUNS == DEFAULT,
    )
    @given(schedules())
    def live(schedule: Schedule) -> None:
        honest = replace(schedule, lies=())
        for verdict in verdicts(honest):
            tally[f"{verdict.rule} {verdict.outcome}"] += 1
            assert verdict.outcome is not Outcome.BROKEN, verdict
        tally["runs"] += 1

    live()
    print(dict(sorted(tally.items())))
    assert {rule.name for rule in RULES} - {name.split()[0] for name in tally} <= {"model"}


def test_liars_whom_the_others_kept_in_check_break_no_rule_but_that_on_copies() -> None:
    """What the quorum rejected is on record, and is no fault of the history's."""

    @settings(
        max_examples=RUNS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        derandomize=RUNS == DEFAULT,
    )
    @given(schedules())
    def live(schedule: Schedule) -> None:
        broken = {verdict.rule for verdict in verdicts(schedule) if verdict.outcome is Outcome.BROKEN}
        repeats = {Lie.NO_BLOB, Lie.OVER_CLIP, Lie.COPY} & {lie for _, lie in schedule.lies}
        assert broken <= ({"copies"} if repeats else set()), broken

    live()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rule_says_what_it_checks_and_why(rule: object) -> None:
    assert getattr(rule, "checks", "").endswith(".")
    assert getattr(rule, "why", "").endswith(".")
