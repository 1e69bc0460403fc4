"""What a site does next, for every situation of a round."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.types import Phase
from node.rounds.decide import (
    PAUSED_SECONDS,
    RANK_SECONDS,
    Attest,
    AttestAndCommit,
    Basis,
    Commit,
    Publish,
    Reject,
    Rotate,
    Seal,
    Situation,
    Train,
    Verify,
    Wait,
    decide,
)
from swarm.merge import Objection

BASIS = Basis(2, b"b" * 32, b"m" * 32)
NEXT = Basis(3, b"o" * 32, b"m" * 32)
OUTPUT = b"o" * 32

COLLECTING = Situation(
    phase=Phase.COLLECTING,
    round=2,
    attempt=0,
    term=0,
    last_round=5,
    now=100.0,
    deadline=160.0,
    sealable_at=160.0,
    rank=0,
    leads=False,
    eligible=True,
    committed=False,
    voted=False,
    committed_next=False,
    output=b"",
    verdict=None,
    basis=BASIS,
    has_update=False,
    next_basis=NEXT,
    has_next_update=False,
    attests_with_commit=True,
)
MERGING = replace(COLLECTING, phase=Phase.MERGING, committed=True)
REVIEWING = replace(MERGING, phase=Phase.REVIEWING, output=OUTPUT)


def test_trains_before_it_commits() -> None:
    assert decide(COLLECTING) == Train(BASIS)
    assert decide(replace(COLLECTING, has_update=True)) == Commit(BASIS, 0)


def test_commits_late_as_long_as_the_round_is_open() -> None:
    assert decide(replace(COLLECTING, now=1000.0, has_update=True)) == Commit(BASIS, 0)


def test_a_site_that_committed_waits_then_seals() -> None:
    committed = replace(COLLECTING, committed=True)
    assert decide(committed) == Wait(160.0, "waiting for the updates of other sites")
    assert decide(replace(committed, now=160.0)) == Seal(2, 0)


def test_sites_take_turns_to_push_a_round_on() -> None:
    third = replace(COLLECTING, committed=True, now=160.0, rank=2)
    assert decide(third) == Wait(160.0 + 2 * RANK_SECONDS, "waiting for the updates of other sites")
    assert decide(replace(third, now=160.0 + 2 * RANK_SECONDS)) == Seal(2, 0)


def test_a_site_that_may_not_take_part_yet_only_pushes() -> None:
    joiner = replace(COLLECTING, eligible=False)
    assert isinstance(decide(joiner), Wait)
    assert decide(replace(joiner, now=161.0)) == Seal(2, 0)


def test_the_leader_publishes_and_the_others_wait_for_its_deadline() -> None:
    assert decide(replace(MERGING, leads=True)) == Publish(2, 0, 0)
    assert isinstance(decide(MERGING), Wait)
    assert decide(replace(MERGING, now=161.0)) == Rotate(2, 0)


def test_a_leader_publishes_past_its_deadline_until_it_is_its_turn_to_end_the_term() -> None:
    late = replace(MERGING, leads=True, rank=2, now=161.0 + RANK_SECONDS)
    assert decide(late) == Publish(2, 0, 0)
    assert decide(replace(late, now=161.0 + 2 * RANK_SECONDS)) == Rotate(2, 0)


def test_review_verifies_then_trains_then_attests_and_commits_at_once() -> None:
    assert decide(REVIEWING) == Verify(2, 0, 0, OUTPUT)
    verified = replace(REVIEWING, verdict=True)
    assert decide(verified) == Train(NEXT)
    assert decide(replace(verified, has_next_update=True)) == AttestAndCommit(2, 0, OUTPUT, NEXT)


def test_a_slow_trainer_attests_first_and_trains_meanwhile() -> None:
    slow = replace(REVIEWING, verdict=True, attests_with_commit=False)
    assert decide(slow) == Attest(2, 0, OUTPUT)
    voted = replace(slow, voted=True)
    assert decide(voted) == Train(NEXT)
    assert isinstance(decide(replace(voted, has_next_update=True)), Wait)


def test_a_review_that_is_over_is_ended_before_more_training() -> None:
    training = replace(REVIEWING, verdict=True, voted=True)
    assert decide(training) == Train(NEXT)
    assert decide(replace(training, now=161.0)) == Rotate(2, 0)


def test_the_last_round_is_attested_alone() -> None:
    assert decide(replace(REVIEWING, round=5, verdict=True)) == Attest(5, 0, OUTPUT)


def test_an_objection_is_put_on_record() -> None:
    assert decide(replace(REVIEWING, verdict=Objection.OMITTED_INPUT)) == Reject(2, 0, OUTPUT, Objection.OMITTED_INPUT)


def test_a_site_that_committed_nothing_has_no_vote() -> None:
    assert isinstance(decide(replace(REVIEWING, committed=False)), Wait)


def test_a_stalled_review_is_rotated() -> None:
    stalled = replace(REVIEWING, verdict=True, voted=True, has_next_update=True)
    assert decide(replace(stalled, now=161.0)) == Rotate(2, 0)


def test_a_study_that_is_not_running_needs_nothing() -> None:
    assert decide(replace(COLLECTING, phase=Phase.IDLE)) == Wait(None, "the study is not running")


def test_a_paused_site_trains_nothing_and_looks_often_whether_it_may() -> None:
    paused = replace(COLLECTING, paused=True)
    assert decide(paused) == Wait(paused.now + PAUSED_SECONDS, "paused by its operator")
    assert decide(replace(paused, now=161.0)) == Seal(2, 0)
    assert isinstance(decide(replace(REVIEWING, paused=True, verdict=True, voted=True)), Wait)


def test_a_paused_site_commits_what_is_made_and_awaited() -> None:
    assert decide(replace(COLLECTING, paused=True, has_update=True)) == Commit(BASIS, 0)


def test_a_paused_site_sees_the_rounds_through_in_which_it_has_committed() -> None:
    assert decide(replace(MERGING, paused=True, leads=True)) == Publish(2, 0, 0)
    assert decide(replace(REVIEWING, paused=True)) == Verify(2, 0, 0, OUTPUT)
    reviewed = replace(REVIEWING, paused=True, verdict=True)
    assert decide(reviewed) == decide(replace(reviewed, has_next_update=True)) == Attest(2, 0, OUTPUT)


situations = st.builds(
    Situation,
    phase=st.sampled_from(Phase),
    round=st.integers(0, 6),
    attempt=st.integers(0, 3),
    term=st.integers(0, 3),
    last_round=st.just(6),
    now=st.floats(0, 1000),
    deadline=st.floats(0, 1000),
    sealable_at=st.floats(0, 1000),
    rank=st.integers(0, 9),
    leads=st.booleans(),
    eligible=st.booleans(),
    committed=st.booleans(),
    voted=st.booleans(),
    committed_next=st.booleans(),
    output=st.just(OUTPUT),
    verdict=st.sampled_from([None, True, *Objection]),
    basis=st.just(BASIS),
    has_update=st.booleans(),
    next_basis=st.just(NEXT),
    has_next_update=st.booleans(),
    attests_with_commit=st.booleans(),
    paused=st.booleans(),
)


@given(situations)
def test_no_situation_waits_without_a_deadline_or_breaks_a_rule(at: Situation) -> None:
    action = decide(at)
    if isinstance(action, Wait):
        assert at.phase is Phase.IDLE or action.until is not None
        assert action.until is None or action.until > at.now
    if isinstance(action, Commit):
        assert at.eligible
        assert not at.committed
    if isinstance(action, Train | AttestAndCommit):
        assert not at.paused
    if isinstance(action, Publish):
        assert at.leads
    if isinstance(action, Attest | AttestAndCommit):
        assert at.verdict is True
        assert at.committed
        assert not at.voted


@pytest.mark.parametrize("phase", [Phase.MERGING, Phase.REVIEWING, Phase.COLLECTING])
def test_time_alone_ends_every_wait(phase: Phase) -> None:
    waiting = replace(COLLECTING, phase=phase, committed=True, voted=True, verdict=True, has_next_update=True)
    assert isinstance(decide(waiting), Wait)
    assert isinstance(decide(replace(waiting, now=10_000.0)), Rotate | Seal)


def test_time_ends_the_term_of_a_leader_that_is_the_only_site_awake() -> None:
    assert decide(replace(MERGING, leads=True, now=10_000.0)) == Rotate(2, 0)
