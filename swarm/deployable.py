"""A model as a file that other programs run: raw feature values in, probabilities (or a number) out.

The agreed standardisation is its first step, in the arithmetic that training used, and what the program's own
prediction does with the outputs is its last one. A file is kept only if it computes what this program computes.
"""

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from swarm.data.dataset import Dataset, Part
from swarm.errors import ExportError
from swarm.moments import Standardisation
from swarm.spec import StudySpec
from swarm.training import FlatModel, Inputs, predict
from swarm.weights import Floats

INPUT = "features"
TOLERANCE = 1e-5
"""Largest difference of an output: other programs add up in another order."""
_ROWS = (64, 1)
_SPREAD = 3.0

Numbers = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was held against the model: its form, and the largest difference of an output."""

    path: Path
    form: str
    difference: float


class Deployable(nn.Module):
    """A study's model from raw values [n, features], or arrays [n, *shape], to [n, classes], or [n] numbers."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, spec: StudySpec, module: nn.Module, agreed: Standardisation | None) -> None:
        super().__init__()
        self.module = module
        self.classifies = bool(spec.data.classes)
        columns = (-1,) + (1,) * (len(spec.data.shape) - 1)  # a channel's values are standardised alike
        if agreed is not None:
            self.register_buffer("mean", torch.tensor(agreed.mean).view(columns))
            self.register_buffer("scale", torch.tensor(agreed.scale).view(columns))
        self.standardises = agreed is not None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Standardise, apply the model, and turn logits into probabilities."""
        if self.standardises:
            features = ((features.to(torch.float64) - self.mean) / self.scale).to(torch.float32)
        outputs: torch.Tensor = self.module(torch.flatten(features, 1))
        if not self.classifies:
            return outputs[:, 0]
        if outputs.shape[1] == 1:
            positive = torch.sigmoid(outputs)
            return torch.cat([1 - positive, positive], dim=1)
        return torch.softmax(outputs, dim=1)


@dataclass(frozen=True, slots=True)
class Form:
    """A file format: how it is written from a model and an example of its inputs, and how such a file is run."""

    suffix: str
    write: Callable[[nn.Module, torch.Tensor, Path, str], None]
    run: Callable[[Path, Numbers], NDArray[Any]]


def write_deployable(spec: StudySpec, vector: Floats, agreed: Standardisation | None, form: str, path: Path) -> Written:
    """Write a model in a form of `FORMS`, and run the file on random inputs beside this program's own prediction.

    Raises ExportError where the library for the form is not installed, the model doesn't allow it, or the file
    computes something else: then none is left. Raises SpecificationError for a custom model.
    """
    model = FlatModel.of(spec)
    model.load(vector)
    deployed = Deployable(spec, model.module, agreed).eval()
    draft = path.with_name(f".{path.name}.new")
    try:
        with _quietly():
            FORMS[form].write(deployed, _examples(spec, agreed, _ROWS[0])[1], draft, _output(spec))
            difference = max(_difference(spec, model, vector, agreed, form, draft, rows) for rows in _ROWS)
        if not difference <= TOLERANCE:
            raise ExportError(f"the {form} file computes something else than the model: an output is {difference} off")
        draft.replace(path)
    except ImportError as error:
        raise ExportError(
            f"{form} needs the package {error.name}: pip install 'swarm-learning-network[onnx]'"
        ) from None
    except (OSError, ExportError):
        raise
    except Exception as error:
        raise ExportError(f"this model can't be written as {form}: {type(error).__name__}: {error}") from error
    finally:
        draft.unlink(missing_ok=True)
    return Written(path, form, difference)


def _difference(
    spec: StudySpec, model: FlatModel, vector: Floats, agreed: Standardisation | None, form: str, path: Path, rows: int
) -> float:
    """The largest difference of an output of the file from the program's own prediction, for that many records."""
    flat, shaped = _examples(spec, agreed, rows)
    kind = np.int64 if spec.data.classes else np.float32
    records = Dataset(flat, np.zeros(rows, kind), (), Part.TEST)
    expected = predict(spec, model, vector, Inputs.of(records, spec, agreed))
    found = FORMS[form].run(path, shaped.numpy())
    if found.shape != expected.shape or not np.isfinite(found).all():
        return np.inf
    return float(np.abs(found - expected).max())


def _examples(spec: StudySpec, agreed: Standardisation | None, rows: int) -> tuple[Numbers, torch.Tensor]:
    """Random records, within three standard deviations: flat, and in the shape that the file takes."""
    shape = spec.data.shape or (len(spec.data.features),)
    drawn = np.random.Generator(np.random.Philox(rows)).uniform(-_SPREAD, _SPREAD, (rows, *shape))
    if agreed is not None:
        columns = (-1,) + (1,) * (len(shape) - 1)
        drawn = drawn * agreed.scale.reshape(columns) + agreed.mean.reshape(columns)
    values = drawn.astype(np.float32)
    return values.reshape(rows, -1), torch.from_numpy(values.copy())


def _output(spec: StudySpec) -> str:
    return "probabilities" if spec.data.classes else "prediction"


def _batched() -> dict[int, Any]:
    return {0: torch.export.Dim("records", min=1, max=1 << 20)}


def _write_torchscript(model: nn.Module, example: torch.Tensor, path: Path, output: str) -> None:
    with torch.no_grad():
        traced = torch.jit.trace(model, example)  # type: ignore[no-untyped-call]
        traced.save(str(path))


def _run_torchscript(path: Path, values: Numbers) -> NDArray[Any]:
    with torch.no_grad():
        outputs: torch.Tensor = torch.jit.load(str(path))(torch.from_numpy(values))  # type: ignore[no-untyped-call]
    return outputs.numpy()


def _write_pt2(model: nn.Module, example: torch.Tensor, path: Path, output: str) -> None:
    with torch.no_grad(), path.open("wb") as file:
        torch.export.save(torch.export.export(model, (example,), dynamic_shapes=(_batched(),)), file)


def _run_pt2(path: Path, values: Numbers) -> NDArray[Any]:
    with torch.no_grad(), path.open("rb") as file:
        program = torch.export.load(io.BytesIO(file.read()))
        outputs: torch.Tensor = program.module()(torch.from_numpy(values))
    return outputs.numpy()


def _write_onnx(model: nn.Module, example: torch.Tensor, path: Path, output: str) -> None:
    import onnx  # noqa: F401 - an optional extra: what is missing is named before torch begins
    import onnxscript  # noqa: F401

    torch.onnx.export(
        model,
        (example,),
        str(path),
        dynamo=True,
        dynamic_shapes=(_batched(),),
        input_names=[INPUT],
        output_names=[output],
        external_data=False,
        verbose=False,
    )


def _run_onnx(path: Path, values: Numbers) -> NDArray[Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    outputs: NDArray[Any] = session.run(None, {INPUT: values})[0]
    return outputs


FORMS = {
    "torchscript": Form(".torchscript", _write_torchscript, _run_torchscript),
    "pt2": Form(".pt2", _write_pt2, _run_pt2),
    "onnx": Form(".onnx", _write_onnx, _run_onnx),
}


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the exporters' talk off the terminal: progress, and that TorchScript is deprecated, which it is."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
