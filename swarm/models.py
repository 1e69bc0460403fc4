"""The models that a study can name, built from their parameters, and their first weights."""

from collections import OrderedDict
from collections.abc import Callable
from math import prod, sqrt
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from swarm.blobs import BlobStore
from swarm.errors import SpecificationError
from swarm.first_weights import draw_layout, draw_uniform
from swarm.manifest import MAX_ELEMENTS, Manifest
from swarm.spec import StudySpec
from swarm.weights import write_model

Width = Annotated[int, Field(ge=1, le=65_536)]


class _Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LogisticParameters(_Parameters):
    """A logistic (or, in a regression, linear) model has no parameters."""


class MlpParameters(_Parameters):
    """Hidden layers of these widths, each followed by batch norm and dropout where asked for."""

    hidden: Annotated[tuple[Width, ...], Field(min_length=1, max_length=16)] = (64,)
    activation: Literal["relu", "tanh"] = "relu"
    batch_norm: bool = False
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class CnnParameters(_Parameters):
    """Blocks of a 3 x 3 convolution, batch norm where asked for, ReLU and 2 x 2 max pooling, then one hidden layer."""

    channels: Annotated[tuple[Width, ...], Field(min_length=1, max_length=8)] = (8, 16)
    hidden: Width = 64
    batch_norm: bool = False
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Dropout(nn.Module):
    """Dropout from a generator of its own, so that no other use of torch's random numbers changes a training run."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.generator = torch.Generator()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Zero a share of the values in training, and scale up the rest."""
        if not self.training:
            return values
        kept = torch.rand(values.shape, generator=self.generator) >= self.share
        return values * kept / (1 - self.share)


def inputs(spec: StudySpec) -> int:
    """Give the number of values of one record."""
    return len(spec.data.features) or prod(spec.data.shape)


def outputs(spec: StudySpec) -> int:
    """Give the number of the model's outputs: one logit for two classes, unless the loss is cross entropy."""
    binary = spec.study.task == "binary" and spec.training.loss != "cross_entropy"
    return 1 if binary or spec.study.task == "regression" else len(spec.data.classes)


def _logistic(spec: StudySpec, parameters: LogisticParameters) -> nn.Module:
    return nn.Sequential(OrderedDict(linear=nn.Linear(inputs(spec), outputs(spec))))


def _mlp(spec: StudySpec, parameters: MlpParameters) -> nn.Module:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    width = inputs(spec)
    for number, hidden in enumerate(parameters.hidden, 1):
        layers[f"hidden{number}"] = nn.Linear(width, hidden)
        if parameters.batch_norm:
            layers[f"norm{number}"] = nn.BatchNorm1d(hidden)
        layers[f"activation{number}"] = nn.ReLU() if parameters.activation == "relu" else nn.Tanh()
        if parameters.dropout:
            layers[f"dropout{number}"] = Dropout(parameters.dropout)
        width = hidden
    layers["output"] = nn.Linear(width, outputs(spec))
    return nn.Sequential(layers)


def _cnn(spec: StudySpec, parameters: CnnParameters) -> nn.Module:
    if len(spec.data.shape) != 3:
        raise SpecificationError("model.architecture: cnn needs data.shape = [channels, height, width]")
    channels, height, width = spec.data.shape
    layers: OrderedDict[str, nn.Module] = OrderedDict(image=nn.Unflatten(1, spec.data.shape))
    for number, count in enumerate(parameters.channels, 1):
        layers[f"conv{number}"] = nn.Conv2d(channels, count, 3, padding=1)
        if parameters.batch_norm:
            layers[f"norm{number}"] = nn.BatchNorm2d(count)
        layers[f"activation{number}"] = nn.ReLU()
        layers[f"pool{number}"] = nn.MaxPool2d(2)
        channels, height, width = count, height // 2, width // 2
    if not height * width:
        raise SpecificationError("model.parameters.channels: the images are too small for so many blocks")
    layers["flat"] = nn.Flatten()
    layers["hidden"] = nn.Linear(channels * height * width, parameters.hidden)
    layers["activation"] = nn.ReLU()
    if parameters.dropout:
        layers["dropout"] = Dropout(parameters.dropout)
    layers["output"] = nn.Linear(parameters.hidden, outputs(spec))
    return nn.Sequential(layers)


REGISTRY: dict[str, tuple[type[_Parameters], Callable[..., nn.Module]]] = {
    "logistic": (LogisticParameters, _logistic),
    "mlp": (MlpParameters, _mlp),
    "cnn": (CnnParameters, _cnn),
}


def build(spec: StudySpec) -> nn.Module:
    """Build the study's model, in the same structure everywhere; its weights are not set yet.

    It takes records [n, inputs] and gives [n, outputs]. Raises SpecificationError naming the field.
    """
    section = spec.model
    if section.custom:
        raise SpecificationError(
            "model.architecture: a custom model is known to its sites' training loops alone; nothing else can build it"
        )
    if section.architecture not in REGISTRY:
        raise SpecificationError(
            f"model.architecture: {section.architecture!r} is not one of {', '.join(sorted(REGISTRY))}"
        )
    schema, make = REGISTRY[section.architecture]
    try:
        parameters = schema.model_validate(section.parameters)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        lines = [f"model.parameters.{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults]
        raise SpecificationError("; ".join(lines)) from None
    with torch.device("meta"):  # to learn the size before any memory is taken
        size = sum(tensor.numel() for tensor in float_tensors(make(spec, parameters)).values())
    if size > MAX_ELEMENTS:
        raise SpecificationError(f"model.parameters: the model has {size} numbers, more than {MAX_ELEMENTS}")
    with torch.random.fork_rng(devices=[]):  # layers draw weights that nobody uses
        model = make(spec, parameters)
    if spec.training.batch_size == 1 and any(isinstance(module, _BatchNorm) for module in model.modules()):
        raise SpecificationError("training.batch_size: batch norm needs batches of two records at least")
    return model


def initial_weights(spec: StudySpec) -> dict[str, NDArray[np.float32]]:
    """Draw the first weights: the same bytes on every machine, whatever its torch.

    Weights are uniform within 1/sqrt(inputs of the unit), as torch's own are, from Philox counters keyed by the
    study's seed and the tensor's name. A logistic model starts at zero. Batch norm starts as the identity. A custom
    model has its layout's.
    """
    if spec.model.custom:
        return draw_layout(spec.model.tensors, spec.training.seed)
    model = build(spec)
    weights = {name: tensor.numpy().copy() for name, tensor in float_tensors(model).items()}
    for prefix, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            bound = 1 / sqrt(prod(module.weight.shape[1:])) if spec.model.architecture != "logistic" else 0.0
            for name in ("weight", "bias"):
                full = f"{prefix}.{name}"
                weights[full] = draw_uniform(spec.training.seed, full, weights[full].shape) * np.float32(bound)
    return weights


def write_initial(spec: StudySpec, store: BlobStore) -> Manifest:
    """Keep the study's first model as a blob."""
    return write_model(store, initial_weights(spec))


def float_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Give what travels: parameters and float buffers by name. Integer buffers stay at the site."""
    return {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
