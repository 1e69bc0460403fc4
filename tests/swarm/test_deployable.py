"""Files that other programs run: they compute what this program computes, or they are not there."""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from swarm import deployable
from swarm.deployable import FORMS, write_deployable
from swarm.errors import ExportError, SpecificationError
from swarm.models import initial_weights
from swarm.moments import Standardisation
from swarm.spec import StudySpec
from swarm.weights import flatten
from tests.swarm.learning_samples import tiny_spec
from tests.swarm.loop_samples import loop_spec

TABLE = Standardisation(9, np.array([1000.0, -3.0]), np.array([200.0, 0.5]))
MLP = {"architecture": "mlp", "parameters": {"hidden": [5], "batch_norm": True, "dropout": 0.3}}
CNN = {"architecture": "cnn", "parameters": {"channels": [3], "hidden": 4, "batch_norm": True, "dropout": 0.5}}
PIXELS = Standardisation(9, np.array([0.5, 0.3]), np.array([0.2, 0.1]))


def images() -> StudySpec:
    record = tiny_spec().model_dump(mode="json")
    record["study"]["task"] = "multiclass"
    record["data"] = {"shape": [2, 8, 8], "classes": ["a", "b", "c"]}
    record["model"] = CNN
    return StudySpec.model_validate(record)


def regression() -> StudySpec:
    record = tiny_spec().model_dump(mode="json")
    record["study"]["task"] = "regression"
    record["data"].update(classes=[], standardise=False)
    record["model"] = MLP
    return StudySpec.model_validate(record)


MODELS = {
    "table": (tiny_spec(model=MLP), TABLE),
    "images": (images(), PIXELS),
    "regression": (regression(), None),
}


def weights(spec: StudySpec) -> np.ndarray:
    """A model that is none of the first weights: dropout and batch norm show."""
    vector = flatten(initial_weights(spec))
    return vector + np.random.default_rng(0).uniform(0.01, 0.2, vector.shape).astype(np.float32)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", MODELS)
def test_every_form_of_every_model_computes_what_the_model_does(
    name: str, form: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec, agreed = MODELS[name]
    path = tmp_path / f"model.{form}"
    written = write_deployable(spec, weights(spec), agreed, form, path)
    assert (written.path, written.form) == (path, form)
    assert 0 <= written.difference < 1e-6
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert capfd.readouterr().out == "", "standard output is where commands put their envelope"


def test_another_program_gives_raw_values_and_gets_probabilities(tmp_path: Path) -> None:
    spec, agreed = MODELS["table"]
    write_deployable(spec, weights(spec), agreed, "onnx", tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    (given,), (taken,) = session.get_inputs(), session.get_outputs()
    assert (given.name, taken.name) == ("features", "probabilities")
    (found,) = session.run(None, {"features": np.array([[1000, -3], [1200, -2.5], [3, 3]], np.float32)})
    assert found.shape == (3, 2)
    assert np.allclose(found.sum(axis=1), 1)


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_computes_something_else_is_not_left(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, agreed = MODELS["table"]
    true = deployable.predict
    monkeypatch.setattr(deployable, "predict", lambda *arguments: true(*arguments) + 1e-3)
    with pytest.raises(ExportError, match=f"the {form} file computes something else"):
        write_deployable(spec, weights(spec), agreed, form, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_custom_model_is_refused(tmp_path: Path) -> None:
    spec = loop_spec()
    with pytest.raises(SpecificationError, match="training loops alone"):
        write_deployable(spec, flatten(initial_weights(spec)), None, "onnx", tmp_path / "model.onnx")


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, agreed = MODELS["table"]
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ExportError, match=r"onnx needs the package onnxscript: pip install .*\[onnx\]"):
        write_deployable(spec, weights(spec), agreed, "onnx", tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
