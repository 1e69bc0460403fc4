from hypothesis import given
from hypothesis import strategies as st

from node.chain import LONGEST_PAUSE, pause_after

seconds = st.floats(0, 1e6)


def test_while_things_happen_the_ledger_is_asked_as_often_as_configured() -> None:
    assert pause_after(0.1, 0.02) == 0.02


def test_a_quiet_ledger_is_asked_less_often() -> None:
    assert pause_after(5.0, 0.02) == 0.2


def test_before_the_first_event_the_longest_pause_holds() -> None:
    assert pause_after(float("inf"), 0.02) == LONGEST_PAUSE


@given(quiet=seconds, poll_seconds=st.floats(0.005, 60))
def test_no_silence_makes_it_slower_than_the_longest_pause_or_faster_than_configured(
    quiet: float, poll_seconds: float
) -> None:
    assert poll_seconds <= pause_after(quiet, poll_seconds) <= max(poll_seconds, LONGEST_PAUSE)
