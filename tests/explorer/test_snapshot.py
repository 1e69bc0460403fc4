"""What requests are answered from: the index folded once, and right whatever the chain does with its newest blocks."""

from pathlib import Path

import pytest
from story import Story, troubled_study

from ledger.api.snapshot import Folded, View
from ledger.errors import RpcUnreachable
from ledger.events import MotionClosed
from ledger.index import Indexer, IndexStore, Queries
from ledger.state import LedgerState, fold
from ledger.types import MotionState, Position


def indexed(story: Story, folder: Path) -> tuple[Indexer, View]:
    store = IndexStore.open(folder / "index.sqlite", story.deployment)
    return Indexer(story.ledger, store, provisional=5), View(story.deployment, Queries(store))


def test_it_is_what_all_events_add_up_to_however_they_came_in(tmp_path: Path) -> None:
    story = Story()
    indexer, view = indexed(story, tmp_path)
    study = story.propose(6)
    for _ in range(6):
        story.play_round(study)
        indexer.catch_up()
        view.refresh()
    events = view._queries.all_events()
    assert view.snapshot.state == fold(events)
    assert view.snapshot.folded.events == len(events)
    assert view.snapshot.studies[study].final_output is not None


def test_blocks_that_the_chain_replaced_are_gone_from_it(tmp_path: Path) -> None:
    story = Story()
    indexer, view = indexed(story, tmp_path)
    story.propose(3)
    indexer.catch_up()
    before = view.refresh()
    story.rpc.rewrite(2)
    indexer.catch_up()
    after = view.refresh()
    assert after.tag != before.tag
    assert len(after.studies[1].sites) == len(before.studies[1].sites) - 2
    assert after.state == view._queries.state()


def test_the_newest_blocks_are_provisional_until_others_follow(tmp_path: Path) -> None:
    story = Story()
    indexer, view = indexed(story, tmp_path)
    story.propose(3)
    indexer.catch_up()
    last = view.refresh().studies[1].rounds[-1].opened
    assert view.snapshot.is_provisional(last)
    story.wait(12 * 6)
    indexer.catch_up()
    assert not view.refresh().is_provisional(last)


def test_an_event_that_cannot_come_there_changes_nothing_and_is_told() -> None:
    lost = MotionClosed(at=Position(1, 0, bytes(32), bytes(32), 1), motion=7, state=MotionState.PASSED)
    folded = Folded().fold([lost])
    assert folded.state == LedgerState()
    assert "7" in folded.problems[0]


def test_a_chain_that_cannot_be_asked_is_said_and_its_answers_stay(tmp_path: Path) -> None:
    story = Story()
    indexer, view = indexed(story, tmp_path)
    troubled_study(story, 2)
    indexer.catch_up()
    view.refresh()
    before = view.snapshot
    after = view.is_in_trouble(str(RpcUnreachable("nobody listens")))
    assert after.tag != before.tag
    assert after.state is before.state
    assert view.refresh().trouble == ""


def test_readers_of_the_index_cannot_write_to_it(tmp_path: Path) -> None:
    story = Story()
    indexer, _ = indexed(story, tmp_path)
    indexer.catch_up()
    reader = IndexStore.open(tmp_path / "index.sqlite", story.deployment, read_only=True)
    assert Queries(reader).state().consortium.members
    with pytest.raises(Exception, match="readonly"):
        reader.roll_back(None)
    assert Queries(reader).state().consortium.members
