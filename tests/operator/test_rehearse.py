"""`swarm-node rehearse`: a whole study on this machine, and what is refused before anything starts."""

from pathlib import Path

import pytest
from operator_world import QUICK_SCRYPT, done, refused

from node.operator.founding import NewSite, init_site
from swarm import studies


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A site that belongs to no consortium, and has no chain."""
    data = {"source": "breast-cancer", "shard": 0, "shards": 3}
    settings = {"name": "ada", "rpc": "http://127.0.0.1:9", "data": data}
    init_site(NewSite(tmp_path / "ada", settings, None, scrypt_rounds=QUICK_SCRYPT))
    return tmp_path / "ada"


def write_study(folder: Path, sites: int) -> Path:
    text = studies.text("breast-cancer").replace("rounds = 12", "rounds = 2")
    file = folder / "study.toml"
    file.write_text(text.replace("min_sites = 3", f"min_sites = {sites}"), encoding="utf-8")
    return file


@pytest.mark.slow
def test_a_study_is_rehearsed_to_its_end_and_leaves_nothing(home: Path) -> None:
    before = sorted(home.rglob("*"))
    came_of_it = done("rehearse", "--home", home, write_study(home.parent, sites=2))
    assert (came_of_it["sites"], came_of_it["rounds"], came_of_it["terms_lost"]) == (2, 3, 0)
    assert came_of_it["seconds_per_round"]["longest"] >= came_of_it["seconds_per_round"]["mean"] > 0
    assert 0.5 < came_of_it["metrics"]["auc"] <= 1
    assert sorted(home.rglob("*")) == before


def test_what_can_not_be_rehearsed_is_said_before_anything_starts(home: Path) -> None:
    file = write_study(home.parent, sites=4)
    assert "needs 4 sites" in refused("rehearse", "--home", home, file, "--sites", 3)[1]
    assert "can't read" in refused("rehearse", "--home", home, home / "nowhere.toml")[1]
    (home / "policy.toml").write_text("architectures = ['logistic']")
    assert "architectures: its model is 'mlp'" in refused("rehearse", "--home", home, file)[1]
    (home / "policy.toml").unlink()
    config = (home / "config.toml").read_text()
    (home / "config.toml").write_text(config.split("[data]")[0])
    assert "config.toml names no data" in refused("rehearse", "--home", home, file)[1]
