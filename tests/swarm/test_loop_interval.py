"""After how many steps a loop synchronises: within what the study agreed on, and for a reason."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from swarm.loop.interval import Feedback, agreement, next_interval
from swarm.sections import TrainingSection


def training(low: int, high: int = 0) -> TrainingSection:
    return TrainingSection(rounds=1, local_steps=low, max_local_steps=high, learning_rate=0.1)


@given(
    low=st.integers(1, 1000),
    more=st.integers(0, 1000),
    present=st.integers(1, 10_000),
    cosine=st.none() | st.floats(-1, 1),
    worsened=st.none() | st.booleans(),
)
def test_it_never_leaves_the_range_that_the_study_agreed_on(low, more, present, cosine, worsened):
    assert low <= next_interval(present, training(low, low + more), Feedback(cosine, worsened)) <= low + more


@given(present=st.integers(1, 100), cosine=st.floats(-1, 1))
def test_without_a_range_it_is_fixed(present, cosine):
    assert next_interval(present, training(20), Feedback(cosine)) == 20


def test_it_grows_while_a_merge_changes_little():
    assert next_interval(20, training(10, 100), Feedback(0.95)) == 40
    assert next_interval(80, training(10, 100), Feedback(0.95)) == 100


def test_it_shrinks_where_sites_drift_apart_or_the_validation_loss_rises():
    assert next_interval(40, training(10, 100), Feedback(0.1)) == 20
    assert next_interval(40, training(10, 100), Feedback(0.95, worsened=True)) == 20
    assert next_interval(15, training(10, 100), Feedback(-1.0)) == 10


def test_it_stays_where_there_is_no_reason_to_change_it():
    assert next_interval(40, training(10, 100), Feedback(0.6)) == 40
    assert next_interval(40, training(10, 100), Feedback(None)) == 40
    assert next_interval(40, training(10, 100), Feedback(0.6, worsened=False)) == 40


@given(st.integers(0, 2**32 - 1))
def test_more_agreement_never_gives_a_shorter_interval(seed):
    low, high = sorted(np.random.default_rng(seed).uniform(-1, 1, 2))
    section = training(10, 100)
    assert next_interval(40, section, Feedback(low)) <= next_interval(40, section, Feedback(high))


def test_agreement_is_the_cosine_between_a_sites_update_and_the_swarms_step():
    base = np.array([1.0, 1.0], np.float32)
    up, right = base + np.array([0, 2], np.float32), base + np.array([3, 0], np.float32)
    assert agreement(base, up, up) == 1.0
    assert agreement(base, up, right) == 0.0
    assert agreement(base, up, base - np.array([0, 1], np.float32)) == -1.0
    assert agreement(base, base, up) is None
