"""How the endurance benchmark sums its rounds up."""

from pathlib import Path

from rich.console import Console

from benchmarks.endurance import SMALL, Sample, draw, quarters, record, table
from benchmarks.swarm_case import Case

ROUNDS = 22
CASE = Case(4, ROUNDS, SMALL, trains=True)
TIMINGS = [{number: {"seconds": float(number), "ledger": 0.5} for number in range(1, ROUNDS)} for _ in range(4)]


def samples() -> list[Sample]:
    """One at each round: ten blocks a round, five milliseconds a block."""
    return [
        Sample(number, float(number), 1e6 * number, 2e6, 3e6, 4e6, 5e6, 10 * number, 0.05 * number)
        for number in range(1, ROUNDS)
    ]


def test_each_quarter_has_its_own_rounds_and_together_they_are_all_but_the_first_and_last() -> None:
    found = quarters(samples(), TIMINGS, ROUNDS)
    assert [number for one in found for number in one.rounds] == list(range(2, ROUNDS))
    first, *_, last = found
    assert (first.rounds, first.seconds, first.last.round) == (range(2, 7), 4.0, 6)
    assert (last.rounds, last.seconds, last.last.round) == (range(17, 22), 19.0, 21)
    assert all((one.blocks, one.ledger) == (50, 0.5) for one in found)
    assert all(abs(one.chain_ms_per_block - 5.0) < 1e-6 for one in found)


def test_they_are_shown_drawn_and_recorded(tmp_path: Path) -> None:
    found = quarters(samples(), TIMINGS, ROUNDS)
    console = Console(width=200)
    with console.capture() as printed:
        console.print(table(CASE, found))
    assert "17-21" in printed.get()
    draw(samples(), TIMINGS, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000
    assert record(CASE, samples(), found)["quarters"][0]["rounds"] == [2, 6]
