"""The benchmarks still run, and what they say adds up."""

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import plain_tcp, rounds, wide_area
from benchmarks.processes import KINDS
from benchmarks.rounds import Plain
from benchmarks.swarm_case import Case, measure
from benchmarks.wide_area import Condition
from tests.wan.lab import Shape, missing

pytestmark = pytest.mark.slow


def test_a_round_of_a_small_swarm_is_measured_and_reported(tmp_path: Path) -> None:
    result = measure(Case(sites=2, rounds=8, hidden=rounds.SMALL, trains=False), tmp_path / "swarm", lambda text: None)

    assert len(result.rounds) == 6
    assert all(result.split["waiting"] + result.split[name] > 0 for name in ("training", "transfer", "ledger"))
    assert result.received_bytes > 4 * result.case.parameters
    assert result.transactions >= 1
    assert all(result.peak_bytes[kind] > 0 for kind in KINDS)
    plain = Plain(result, tuple(plain_tcp.exchange(2, 100_000, 1)))
    console = Console(width=rounds.WIDTH)
    with console.capture() as printed:
        rounds.report(console, [result], [plain])
    assert "16.5 KB" in printed.get()
    assert rounds.record([result], [plain])["swarms"][0]["parameters"] == 4130


def test_every_site_of_a_plain_exchange_receives_what_each_other_one_sends() -> None:
    (exchange,) = plain_tcp.exchange(3, 100_000, 1)
    assert exchange.bytes == 600_000
    assert exchange.seconds > 0


@pytest.mark.skipif(missing() is not None, reason=missing() or "")
def test_a_round_across_a_distance_is_measured_and_held_against_the_ideal(tmp_path: Path) -> None:
    case = Case(sites=2, rounds=3, hidden=rounds.SMALL, trains=False)
    far = wide_area.measure(Condition(Shape(delay_ms=100, rate_mbit=20)), case, tmp_path / "far")
    assert far.seconds > wide_area.DELAYS * 0.1, "no round is quicker than its messages"
    assert far.received_bytes > 4 * case.parameters
    near = replace(far, condition=Condition(Shape()), seconds=0.5)
    assert far.ideal(near) == pytest.approx(0.5 + 0.5 + far.received_bytes * 8e-6 / 20)
    console = Console(width=rounds.WIDTH)
    with console.capture() as printed:
        wide_area.report(console, [near, far])
    assert "| 100 ms, 20 Mbit/s | 16.5 KB |" in printed.get()
