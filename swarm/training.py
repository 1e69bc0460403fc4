"""Local training: from a base model to a trained one, the same bytes for the same data, base, seed and round."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from swarm.data.dataset import Dataset
from swarm.errors import TrainingError
from swarm.manifest import Layout, TensorShape, layout_elements
from swarm.models import Dropout, build, float_tensors
from swarm.moments import Standardisation
from swarm.optimizers import Optimizer, make_optimizer
from swarm.spec import DataSection, StudySpec, TrainingSection
from swarm.weights import Floats

PROGRESS_SECONDS = 0.1
EVALUATION_ROWS = 4096

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Progress = Callable[[int, int, float], None]


@dataclass(frozen=True, slots=True)
class Trained:
    """What local training made of a base: the model as a flat vector, and the mean loss over its steps."""

    vector: Floats
    loss: float
    steps: int
    seconds: float


class FlatModel:
    """A model whose parameters, and whose float buffers, are views of two vectors.

    An optimizer's step is then a few operations on one vector, however many layers there are; `load` and `read` take
    and give all of it in the canonical order, sorted by name.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        tensors = float_tensors(module)
        self.layout: Layout = tuple(TensorShape(name, tuple(tensors[name].shape)) for name in sorted(tensors))
        trained = dict(module.named_parameters())
        self.parameters = torch.zeros(sum(parameter.numel() for parameter in trained.values()))
        self._gradient = torch.zeros_like(self.parameters)
        self._buffers = torch.zeros(layout_elements(self.layout) - len(self.parameters))
        self._parts: list[torch.Tensor] = []
        parameter_at = buffer_at = 0
        for tensor in self.layout:
            if tensor.name in trained:
                part = slice(parameter_at, parameter_at := parameter_at + tensor.elements)
                trained[tensor.name].data = self.parameters[part].view(tensor.shape)
                trained[tensor.name].grad = self._gradient[part].view(tensor.shape)
                self._parts.append(self.parameters[part])
            else:
                part = slice(buffer_at, buffer_at := buffer_at + tensor.elements)
                module.get_buffer(tensor.name).data = self._buffers[part].view(tensor.shape)
                self._parts.append(self._buffers[part])

    @classmethod
    def of(cls, spec: StudySpec) -> "FlatModel":
        """Build a study's model; raises SpecificationError."""
        return cls(build(spec))

    def load(self, vector: Floats) -> None:
        """Set all parameters and float buffers."""
        given = torch.from_numpy(np.array(vector, np.float32))
        for part, values in zip(self._parts, torch.split(given, [len(part) for part in self._parts]), strict=True):
            part.copy_(values)

    def read(self) -> Floats:
        """Copy all parameters and float buffers."""
        return torch.cat(self._parts).numpy()

    def step(self, loss: torch.Tensor, optimizer: Optimizer) -> None:
        """Move the parameters against the gradient of the loss."""
        self._gradient.zero_()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step(self.parameters, self._gradient)


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """A dataset as the model takes it: standardised features [n, inputs] and labels."""

    features: torch.Tensor
    labels: torch.Tensor

    @classmethod
    def of(cls, dataset: Dataset, spec: StudySpec, standardisation: Standardisation | None) -> "Inputs":
        """Standardise a dataset by the agreed statistics; raises TrainingError where they are missing."""
        features = dataset.features
        if spec.data.standardise:
            if standardisation is None:
                raise TrainingError("this study standardises its features: the agreed statistics are needed")
            table = standardisation.apply(as_columns(features, spec.data))
            features = as_rows(table, spec.data).astype(np.float32)
        kind = torch.int64 if _classifies(spec) else torch.float32
        return cls(torch.from_numpy(features.copy()), torch.from_numpy(dataset.labels.copy()).to(kind))


def as_columns(features: NDArray[Any], schema: DataSection) -> NDArray[Any]:
    """Give what is standardised alike one column: a feature, or all pixels of a channel [n * pixels, channels]."""
    if schema.features:
        return features
    return features.reshape(len(features), schema.shape[0], -1).transpose(0, 2, 1).reshape(-1, schema.shape[0])


def as_rows(table: NDArray[Any], schema: DataSection) -> NDArray[Any]:
    """Undo `as_columns`."""
    if schema.features:
        return table
    size = int(np.prod(schema.shape[1:], dtype=np.int64))
    return table.reshape(-1, size, schema.shape[0]).transpose(0, 2, 1).reshape(-1, size * schema.shape[0])


def round_seed(seed: int, round_number: int) -> int:
    """Give the seed of one round's training: the study's, never the site's key."""
    return int.from_bytes(hashlib.sha256(f"train/{seed}/{round_number}".encode()).digest()[:16], "big")


def batches(rows: int, batch_size: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Give the rows of each step, for ever: shuffled anew each epoch, a lone last row in the batch before it.

    Batch norm can't train on a single row.
    """
    draw = np.random.Generator(np.random.Philox(key=seed))
    count = _batches_per_epoch(rows, batch_size)
    while True:
        order = draw.permutation(rows)
        for index in range(count):
            yield order[index * batch_size : (index + 1) * batch_size if index + 1 < count else rows]


def steps_of_round(rows: int, training: TrainingSection) -> int:
    """Give the number of optimisation steps of one round at a site with this many training rows."""
    return training.local_steps or training.local_epochs * _batches_per_epoch(rows, training.batch_size)


def _batches_per_epoch(rows: int, batch_size: int) -> int:
    full, rest = divmod(rows, batch_size)
    joins = rest == 1 and full and batch_size > 1
    return full + (rest > 0 and not joins)


def train(
    spec: StudySpec,
    model: FlatModel,
    base: Floats,
    data: Inputs,
    round_number: int,
    *,
    steps: int | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train from `base` for one round, on one thread, with a fresh optimizer.

    `steps` replaces the study's own number. `progress(step, steps, loss)` is called ten times a second at most. Raises
    TrainingError where the loss or a weight isn't finite any more.
    """
    began = time.perf_counter()
    total = steps or steps_of_round(len(data.labels), spec.training)
    seed = round_seed(spec.training.seed, round_number)
    with deterministic():
        model.load(base)
        model.module.train()
        _seed_dropout(model.module, seed)
        mean = _descend(spec, model, data, seed, total, progress)
    vector = model.read()
    if not np.isfinite(vector).all():
        raise TrainingError(f"round {round_number}: a weight is not finite after {total} steps; {_ADVICE}")
    return Trained(vector, mean, total, time.perf_counter() - began)


def predict(spec: StudySpec, model: FlatModel, vector: Floats, data: Inputs) -> NDArray[np.float64]:
    """Give class probabilities [n, classes], or in a regression predictions [n]; raises TrainingError."""
    with deterministic(), torch.no_grad():
        model.load(vector)
        model.module.eval()
        outputs = [model.module(rows) for rows in torch.split(data.features, EVALUATION_ROWS)]
        if not len(data.labels):
            return np.empty((0, len(spec.data.classes)) if _classifies(spec) else 0)
        logits = torch.cat(outputs).to(torch.float64)
        if not torch.isfinite(logits).all():
            raise TrainingError("the model's output is not finite")
        if not _classifies(spec):
            return logits[:, 0].numpy()
        if logits.shape[1] == 1:
            positive = torch.sigmoid(logits[:, 0])
            return torch.stack([1 - positive, positive], dim=1).numpy()
        return torch.softmax(logits, dim=1).numpy()


@contextmanager
def deterministic() -> Iterator[None]:
    """Compute on one thread with deterministic algorithms, and leave torch's settings as they were.

    They are the whole process's: the last of several threads to leave restores what the first one found.
    (`torch.use_deterministic_algorithms` does the same, and imports torch's compiler.)
    """
    with _settings.lock:
        if not _settings.users:
            _settings.found = torch.get_num_threads(), torch.get_deterministic_debug_mode()
        _settings.users += 1
        torch.set_num_threads(1)
        torch.set_deterministic_debug_mode("error")
    try:
        yield
    finally:
        with _settings.lock:
            _settings.users -= 1
            if not _settings.users:
                torch.set_num_threads(_settings.found[0])
                torch.set_deterministic_debug_mode(_settings.found[1])


@dataclass(slots=True)
class _Settings:
    lock: threading.Lock
    users: int = 0
    found: tuple[int, int] = (1, 0)


_settings = _Settings(threading.Lock())
_ADVICE = "the study's learning_rate is too high for this data"


def _descend(
    spec: StudySpec, model: FlatModel, data: Inputs, seed: int, total: int, progress: Progress | None
) -> float:
    optimizer, loss_of = make_optimizer(spec.training), _loss(spec)
    losses = torch.zeros((), dtype=torch.float64)
    reported = time.monotonic()
    shuffled = batches(len(data.labels), spec.training.batch_size, seed)
    for step, rows in zip(range(1, total + 1), shuffled, strict=False):
        index = torch.from_numpy(rows)
        loss = loss_of(model.module(data.features[index]), data.labels[index])
        model.step(loss, optimizer)
        losses += loss.detach()
        if progress is not None and (now := time.monotonic()) - reported >= PROGRESS_SECONDS:
            reported = now
            progress(step, total, _finite(float(losses) / step, step))
    return _finite(float(losses) / total, total)


def _finite(loss: float, step: int) -> float:
    if not np.isfinite(loss):
        raise TrainingError(f"the loss is not finite by step {step}; {_ADVICE}")
    return loss


def _loss(spec: StudySpec) -> Loss:
    if spec.study.task == "regression":
        return lambda outputs, labels: nn.functional.mse_loss(outputs[:, 0], labels)
    if spec.study.task == "binary" and spec.training.loss != "cross_entropy":
        return lambda outputs, labels: nn.functional.binary_cross_entropy_with_logits(
            outputs[:, 0], labels.to(torch.float32)
        )
    return nn.functional.cross_entropy


def _seed_dropout(module: nn.Module, seed: int) -> None:
    for number, part in enumerate(part for part in module.modules() if isinstance(part, Dropout)):
        part.generator.manual_seed((seed + number) & (2**63 - 1))


def _classifies(spec: StudySpec) -> bool:
    return bool(spec.data.classes)
