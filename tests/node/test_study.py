"""A study as a Python object: what it holds is a specification, and what it does is what the commands do."""

from pathlib import Path

import pytest

from node.study import Study
from swarm.data import load
from swarm.errors import SpecificationError
from swarm.loop.module import describe, save
from swarm.simulation import run
from tests.swarm.loop_samples import small_module

DATA = {"features": ["a", "b"], "classes": ["no", "yes"]}


def study(**sections: object) -> Study:
    given = {"task": "binary", "data": DATA, "model": "logistic", "rounds": 2, **sections}
    return Study.new("tiny", **given)  # type: ignore[arg-type]


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, dict[str, str]]:
    """Two hospitals' tables."""
    found = {}
    for number, name in enumerate(("ada", "bea")):
        rows = [f"{row % 7 + number},{row % 5},{'yes' if (row % 7) > (row % 5) else 'no'}" for row in range(60)]
        (tmp_path / f"{name}.csv").write_text("a,b,label\n" + "\n".join(rows) + "\n")
        found[name] = {"source": "csv", "path": str(tmp_path / f"{name}.csv")}
    return found


def test_little_needs_to_be_said(tmp_path: Path) -> None:
    spec = study().spec
    assert (spec.training.local_epochs, spec.training.rounds, spec.round.min_sites) == (1, 2, 2)
    assert study(training={"local_steps": 7}).spec.training.local_epochs == 0


def test_a_wrong_field_is_named() -> None:
    with pytest.raises(SpecificationError, match=r"training\.learning_rate: "):
        study(training={"learning_rate": -1.0})
    with pytest.raises(SpecificationError, match=r"round\.min_site: "):
        study(round={"min_site": 3})


def test_it_is_written_and_read_as_toml_and_never_over_a_file(tmp_path: Path) -> None:
    written = study(model={"architecture": "mlp", "parameters": {"hidden": [4]}}, description='a "quoted" one')
    written.save(tmp_path / "study.toml")
    assert Study.load(tmp_path / "study.toml") == written
    with pytest.raises(FileExistsError):
        written.save(tmp_path / "study.toml")


def test_it_says_in_words_what_it_does() -> None:
    assert "2 rounds of 1 epochs" in study().in_words()


def test_it_is_simulated_and_compared_as_the_simulation_does_it(sources: dict[str, dict[str, str]]) -> None:
    one = study()
    sites = {name: load(source, one.spec) for name, source in sources.items()}
    assert one.simulate(sources).final_model == run(one.spec, sites).final_model
    assert one.compare(sources).sites.keys() == {"ada", "bea"}


def test_a_module_of_ones_own_makes_a_study_of_training_loops(tmp_path: Path) -> None:
    own = study(model=small_module())
    assert own.spec.model.layout == {name: tuple(shape) for name, shape in describe(small_module()).items()}
    assert not own.spec.data.standardise
    own.save(tmp_path / "own.toml")
    assert Study.load(tmp_path / "own.toml") == own


def test_a_module_of_ones_own_is_not_simulated(sources: dict[str, dict[str, str]]) -> None:
    with pytest.raises(SpecificationError, match="training loops alone"):
        study(model=small_module()).simulate(sources)


def test_it_starts_from_a_model_file_of_its_own_layout_alone(tmp_path: Path) -> None:
    blob = save(small_module(), tmp_path / "model.safetensors")
    assert study(model=small_module()).starting_from(tmp_path / "model.safetensors").spec.initial == blob
    with pytest.raises(SpecificationError, match="does not have the tensors"):
        study().starting_from(tmp_path / "model.safetensors")
