"""To whom a site serves which blob, where several studies claim it."""

from pathlib import Path

import pytest
from ledger_script import RunnerWorld, commitment, specification

from ledger.events import OutputAttested

UPDATE, OUTPUT, MINE = bytes(31) + b"u", bytes(31) + b"o", bytes(31) + b"m"


@pytest.fixture
def world(tmp_path: Path) -> RunnerWorld:
    """The site `ada` takes part in study 1 with all four."""
    return RunnerWorld(tmp_path)


def propose_second(world: RunnerWorld, *sites: str) -> None:
    world.chain.propose(2, specification(seed=1), world.reveals.tip, sites)


def test_inputs_and_outputs_go_to_the_sites_of_their_study_and_to_nobody_else(world: RunnerWorld) -> None:
    world.chain.commit("bea", 1, commitment(UPDATE))
    assert world.claims.may_serve("cleo", UPDATE)
    assert not world.claims.may_serve("mallory", UPDATE)
    assert not world.claims.may_serve("cleo", OUTPUT)
    world.chain.seal(1, 0b0010, "bea")
    world.chain.publish("bea", 1, OUTPUT, 0b0010)
    assert world.claims.may_serve("dora", OUTPUT)
    world.chain.finalise(1, OUTPUT, 0b0010)
    assert world.claims.may_serve("dora", UPDATE)
    assert world.claims.may_serve("dora", OUTPUT)


def test_an_update_that_is_being_committed_goes_to_the_sites_of_its_study_alone(tmp_path: Path) -> None:
    world = RunnerWorld(tmp_path, sites=("ada", "bea"))
    assert not world.claims.may_serve("bea", MINE)
    world.claims.offer(1, MINE)
    assert world.claims.may_serve("bea", MINE)
    assert not world.claims.may_serve("cleo", MINE)


def test_a_study_that_this_site_is_not_in_gives_no_right(world: RunnerWorld) -> None:
    propose_second(world, "cleo", "dora")
    world.chain.commit("dora", 1, commitment(UPDATE), study=2)
    assert not world.claims.may_serve("cleo", UPDATE)


def test_committing_the_hash_of_another_studys_update_gives_no_right_to_it(tmp_path: Path) -> None:
    world = RunnerWorld(tmp_path, sites=("ada", "bea"))
    world.chain.commit("bea", 1, commitment(UPDATE))
    propose_second(world, "ada", "dora")
    world.chain.commit("dora", 1, commitment(UPDATE), study=2)
    assert not world.claims.may_serve("dora", UPDATE)
    assert world.claims.may_serve("bea", UPDATE)


def test_the_same_bytes_of_its_own_in_two_studies_go_to_both(tmp_path: Path) -> None:
    world = RunnerWorld(tmp_path, sites=("ada", "bea"))
    world.chain.commit("ada", 1, commitment(MINE))
    propose_second(world, "ada", "dora")
    world.chain.commit("ada", 1, commitment(MINE), study=2)
    assert world.claims.may_serve("dora", MINE)
    assert world.claims.may_serve("bea", MINE)


def test_committing_the_hash_of_a_model_elsewhere_first_takes_nobodys_right_to_it(tmp_path: Path) -> None:
    world = RunnerWorld(tmp_path, sites=("ada", "bea"))
    propose_second(world, "ada", "dora")
    world.chain.commit("dora", 1, commitment(OUTPUT), study=2)
    world.chain.play_round(1, {"bea": UPDATE}, OUTPUT)
    assert world.claims.may_serve("bea", OUTPUT)


def test_commits_that_ride_with_an_attestation_count(world: RunnerWorld) -> None:
    world.chain.commit("bea", 1, commitment(UPDATE))
    world.chain.seal(1, 0b0010, "bea")
    world.chain.publish("bea", 1, OUTPUT, 0b0010)
    world.chain.say(OutputAttested, round=1, site="bea", term=0, seat=1, output=OUTPUT)
    world.chain.commit("bea", 2, commitment(MINE))
    assert world.claims.may_serve("cleo", MINE)
    world.chain.finalise(1, OUTPUT, 0b0010)
    assert world.claims.may_serve("cleo", MINE)
