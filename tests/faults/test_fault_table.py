"""Faults in each phase of a round of real sites; `make faults` runs all cells of the table, and this some of them."""

from pathlib import Path

import pytest

from tests.faults.fault_table import Injected, Moment, all_cells, must_say, run

CELLS = [
    (Injected.KILLED, Moment.TRAINING),
    (Injected.LEADER_KILLED, Moment.MERGING),
    (Injected.FROZEN, Moment.COMMITTED),
    (Injected.LEADER_FROZEN, Moment.REVIEWING),
    (Injected.ALL_CUT, Moment.TRAINING),
    (Injected.ONE_WAY, Moment.COMMITTED),
    (Injected.TRANSFER_CUT, Moment.TRAINING),
    (Injected.RPC_STALE, Moment.MERGING),
    (Injected.RPC_STALLS, Moment.TRAINING),
    (Injected.RPC_SWALLOWS, Moment.TRAINING),
    (Injected.RPC_LIES, Moment.REVIEWING),
    (Injected.CHAIN_RESTARTS, Moment.COMMITTED),
    (Injected.DISK_FULL, Moment.MERGING),
    (Injected.KILLED, Moment.LAST),
]


def test_every_fault_strikes_in_several_phases_and_all_phases_are_struck() -> None:
    cells = all_cells()
    assert len(cells) == len(set(cells)) >= 30
    assert {fault for fault, _ in cells} == set(Injected)
    assert {moment for _, moment in cells} == set(Moment)
    assert set(CELLS) <= set(cells)


@pytest.mark.slow
def test_no_fault_costs_a_round_or_its_model_and_each_is_told_of(tmp_path: Path) -> None:
    outcomes = run(tmp_path, CELLS)
    assert [(one.fault, one.moment) for one in outcomes] == CELLS
    for one in outcomes:
        assert one.said or not must_say(one.fault, one.moment)
