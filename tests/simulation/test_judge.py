"""The simulation itself: it repeats, and it finds what is broken."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sim_audit import Audit, SafetyViolation
from sim_schedule import Lie, Mishap, Schedule, Trouble
from sim_swarm import LivenessViolation, simulate

from ledger import events as e
from node.rounds import decide as do
from node.rounds.review import Reviewer

CALM = Schedule(
    seed=7,
    sites=4,
    min_sites=2,
    rounds=2,
    statistics=True,
    late=0,
    lies=(),
    mishaps=(Mishap(Trouble.KILL, 1, 3.0, 5.0),),
)


def test_the_same_schedule_gives_the_same_history(tmp_path: Path) -> None:
    plan = replace(CALM, late=1, lies=((0, Lie.OMIT),))
    assert simulate(plan, tmp_path / "one").history == simulate(plan, tmp_path / "two").history
    assert simulate(replace(plan, seed=8), tmp_path / "three").history != simulate(plan, tmp_path / "four").history


def test_a_killed_site_starts_again_and_finishes_with_the_others(tmp_path: Path) -> None:
    report = simulate(CALM, tmp_path)
    assert (report.starts, len(report.audit.finals), report.status.name) == (5, 3, "FINISHED")


@pytest.mark.parametrize(
    "kind",
    [e.StudyAccepted, e.UpdateCommitted, e.ModelPublished, e.OutputAttested, e.RoundFinalised],
    ids=lambda kind: kind.__name__,
)
def test_the_judge_refuses_an_event_that_comes_twice(tmp_path: Path, kind: type[e.Event]) -> None:
    report = simulate(replace(CALM, lies=((3, Lie.WRONG_OUTPUT), (3, Lie.SILENT))), tmp_path)
    done = report.audit
    judge = Audit(done.spec, done.terms, done.rule, done.honest, done.archive)
    first = next(at for at, event in enumerate(report.history) if isinstance(event, kind))
    for event in report.history[: first + 1]:
        judge.take(event)
    with pytest.raises(SafetyViolation):
        judge.take(report.history[first])


def test_reviews_that_find_nothing_let_a_lying_leader_break_safety(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def approve(*_args: Any) -> bool:
        return True

    monkeypatch.setattr(Reviewer, "review", approve)
    lies = tuple((seat, Lie.WRONG_OUTPUT) for seat in range(3))
    plan = replace(CALM, rounds=1, statistics=False, lies=lies, mishaps=())
    with pytest.raises(SafetyViolation, match="no merge of its inputs"):
        simulate(plan, tmp_path)


def test_sites_that_never_end_a_term_break_liveness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(_at: do.Situation, reason: str) -> do.Action:
        return do.Wait(None, reason)

    monkeypatch.setattr(do, "_await_deadline", wait)
    plan = replace(CALM, rounds=12, lies=((0, Lie.SILENT),), mishaps=())
    with pytest.raises(LivenessViolation):
        simulate(plan, tmp_path)
