import pytest

from node.rounds.stopwatch import Activity, Stopwatch


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> Stopwatch:
    return Stopwatch(clock)


def test_an_activity_has_the_seconds_it_took_and_the_rest_is_waiting(watch: Stopwatch, clock: Clock) -> None:
    clock.now += 1
    with watch.on(Activity.MERGE):
        clock.now += 2
    clock.now += 4
    lap = watch.lap()
    assert (lap["seconds"], lap["merge"], lap["waiting"]) == (7, 2, 5)


def test_two_of_one_activity_at_once_count_once(watch: Stopwatch, clock: Clock) -> None:
    with watch.on(Activity.TRANSFER):
        clock.now += 1
        with watch.on(Activity.TRANSFER):
            clock.now += 2
        clock.now += 4
    assert watch.lap()["transfer"] == 7


def test_different_activities_overlap(watch: Stopwatch, clock: Clock) -> None:
    with watch.on(Activity.TRAINING):
        clock.now += 1
        with watch.on(Activity.TRANSFER):
            clock.now += 2
    lap = watch.lap()
    assert (lap["training"], lap["transfer"], lap["waiting"], lap["seconds"]) == (3, 2, 0, 3)


def test_what_goes_on_across_a_lap_is_divided_there(watch: Stopwatch, clock: Clock) -> None:
    with watch.on(Activity.TRAINING):
        clock.now += 1
        assert watch.lap()["training"] == 1
        clock.now += 2
    assert watch.lap()["training"] == 2


def test_what_fails_is_timed_and_ends(watch: Stopwatch, clock: Clock) -> None:
    def fail() -> None:
        with watch.on(Activity.LEDGER):
            clock.now += 1
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        fail()
    clock.now += 2
    lap = watch.lap()
    assert (lap["ledger"], lap["waiting"]) == (1, 2)
