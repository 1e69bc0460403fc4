"""What a round would take: measured where it can be, and said where it can't."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
from operator_world import World, done
from test_study_commands import write_study

from ledger.types import Block
from node.errors import WorkerError
from node.operator import links, round_estimate
from node.operator.desk import open_desk
from node.operator.links import Link
from node.operator.round_estimate import Estimate, Part, _exchange, _ledger, _train_once
from node.site_folder import SiteFolder
from node.study_folder import StudyFolder
from swarm import studies
from swarm.folder_store import FolderStore

KB, MB = 1000, 1000_000


def test_the_sentence_adds_up_what_is_known_and_names_what_is_not() -> None:
    parts = (Part("training", 2.0, "measured"), Part("exchange", None, "nobody there"), Part("ledger", 1.5, "3 blocks"))
    says = Estimate(parts).says
    assert says.startswith("about 3.5 s a round, and exchange, which can't be told")
    assert "training 2 s (measured); exchange ? (nobody there); ledger 1.5 s (3 blocks)" in says


def test_a_small_update_takes_the_way_and_a_large_one_the_width() -> None:
    near, wide = Link(0.1), Link(0.1, 10 * MB)
    assert _exchange({}, 3, 16 * KB).seconds is None
    assert _exchange({"bea": near}, 3, 16 * KB).seconds == pytest.approx(0.3)
    assert _exchange({"bea": near}, 3, 100 * MB).seconds is None
    assert _exchange({"bea": wide, "cleo": near}, 3, 100 * MB).seconds == pytest.approx(30.3)
    assert "10.0 MB/s" in _exchange({"bea": wide}, 3, 100 * MB).how


@dataclass
class BlockedDesk:
    """A desk whose chain has a block every two seconds."""

    height: int

    @property
    def ledger(self) -> "BlockedDesk":
        return self

    @property
    def config(self) -> "BlockedDesk":
        return self

    dev = False

    def head(self) -> Block:
        return self.block(self.height)

    def block(self, number: int) -> Block:
        return Block(number, bytes(32), 1000 + 2 * number)


def test_the_ledgers_part_is_three_of_its_blocks() -> None:
    desk: Any = BlockedDesk(500)
    assert _ledger(desk).seconds == pytest.approx(6.0, abs=0.5)
    young: Any = BlockedDesk(0)
    assert _ledger(young).seconds is None


class SlowTrainer:
    """A training process that is at step 50 of 200 when patience ends."""

    async def request(self, op: str, *, progress: Any = None, **fields: Any) -> dict[str, Any]:
        if op == "initial":
            return {"blob": studies.draft("breast-cancer").with_initial(bytes(32)).model.initial}
        if progress is not None:
            progress({"step": 50, "steps": 200})
        await trio.sleep_forever()
        raise AssertionError

    async def close(self) -> None:
        pass


def test_long_training_is_told_by_how_far_it_got(tmp_path: Path) -> None:
    record = studies.draft("breast-cancer").with_initial(bytes(32)).model_dump(mode="json")
    record["data"]["standardise"] = False
    spec = type(studies.draft("breast-cancer")).model_validate(record)
    trainer: Any = SlowTrainer()

    async def train() -> tuple[Part, bytes | None]:
        return await _train_once(spec, trainer, FolderStore(tmp_path, durable=False))

    part, update = trio.run(train, clock=trio.testing.MockClock(autojump_threshold=0))
    assert (part.seconds, part.how, update) == (240.0, "after 50 of 200 steps", None)


@pytest.mark.slow
def test_the_doctor_trains_a_round_with_the_sites_own_data(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "CONNECT_SECONDS", 0.1)
    world.found("ada", "bea")
    home = world.home("ada")
    done("study", "propose", "--home", home, write_study(world.folder / "study.toml"), "--yes")
    (says,) = [one["says"] for one in done("doctor", "--home", home)["checks"] if one["check"] == "round"]
    assert says.startswith("study 1: about ")
    assert "exchange ? (2 updates of 16.5 KB; no other member could be asked)" in says
    assert "merging" in says
    assert "(3 updates, measured)" in says
    assert "development chain" in says
    # where rounds of the study were run here, they say more than any trial
    StudyFolder(SiteFolder(home).study(1)).note_timing(1, {"training": 2.0, "ledger": 0.5})
    monkeypatch.setattr(round_estimate, "_train", fail)
    (says,) = [one["says"] for one in done("doctor", "--home", home)["checks"] if one["check"] == "round"]
    assert says.startswith("study 1: about 2.5 s a round")
    assert "training 2 s (mean of 1 rounds at this site)" in says


def fail(*_args: Any) -> None:
    raise WorkerError("it was asked to train again")


def test_training_that_is_too_slow_for_the_study_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Part("training", 1000.0, "measured"), Part("merging", 1.0, "measured"), 16 * KB
    monkeypatch.setattr(round_estimate, "_train", lambda *_: slow)
    world.found("ada", "bea")
    home = world.home("ada")
    done("study", "propose", "--home", home, write_study(world.folder / "study.toml"), "--yes")
    with open_desk(home, signing=False) as desk:
        study = desk.study(1)
        from node.specification import specification

        found = round_estimate.estimate(desk, study, specification(study), [])
    assert found.late == "training takes longer than the study's 120 s for updates"
    assert "training 1000 s" in found.says
