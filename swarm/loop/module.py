"""A data scientist's own module as the study sees it: float32 tensors by name, read and set as one vector."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from swarm.errors import LayoutDiffers
from swarm.manifest import Layout, TensorShape, layout_elements
from swarm.memory_store import MemoryStore
from swarm.model_file import export_safetensors
from swarm.models import float_tensors
from swarm.weights import FLOAT, Floats, unflatten, write_vector

_SHOWN = 8


class OwnModule:
    """A module that stays where it is, on whatever device, with whatever optimizer: values are copied in and out.

    What travels is what travels of built-in models too: parameters and float buffers, a batch norm's running mean and
    variance among them; integer buffers stay. A tensor that has two names, as tied weights have, travels under the
    first one.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        tensors = _travelling(module)
        for name, tensor in tensors.items():
            if tensor.dtype != torch.float32 or tensor.is_meta:
                raise LayoutDiffers(
                    f"tensor {name!r} is {tensor.dtype} on {tensor.device}; a study's model is kept in float32 "
                    "(autocast may compute in less)"
                )
        self.layout: Layout = tuple(TensorShape(name, tuple(tensor.shape)) for name, tensor in tensors.items())

    def check(self, agreed: Layout) -> None:
        """Hold the module against a study's layout; raises LayoutDiffers naming the tensors that differ."""
        mine, theirs = ({tensor.name: tensor.shape for tensor in layout} for layout in (self.layout, agreed))
        faults = [
            *(
                f"{name} is {list(mine[name])}, not {list(theirs[name])}"
                for name in mine.keys() & theirs.keys()
                if mine[name] != theirs[name]
            ),
            *(f"{name} {list(theirs[name])} is missing" for name in theirs.keys() - mine.keys()),
            *(f"{name} {list(mine[name])} is not the study's" for name in mine.keys() - theirs.keys()),
        ]
        if faults:
            more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
            raise LayoutDiffers(f"this model is not the study's: {'; '.join(sorted(faults)[:_SHOWN])}{more}")

    def read(self) -> Floats:
        """Copy what travels into one vector."""
        vector = np.empty(layout_elements(self.layout), FLOAT)
        tensors = _travelling(self._module)
        for name, part in unflatten(vector, self.layout).items():
            part[...] = tensors[name].detach().cpu().numpy()
        return vector

    @torch.no_grad()
    def load(self, vector: Floats) -> None:
        """Set what travels, in place: an optimizer goes on with the same tensors, and keeps its own state."""
        tensors = _travelling(self._module)
        for name, part in unflatten(vector, self.layout).items():
            tensors[name].copy_(torch.from_numpy(np.array(part, np.float32)))


def describe(module: nn.Module) -> dict[str, list[int]]:
    """Give a module's layout as a study's `model.layout` has it; raises LayoutDiffers."""
    return {tensor.name: list(tensor.shape) for tensor in OwnModule(module).layout}


def save(module: nn.Module, path: str | Path) -> bytes:
    """Write what travels of a module as a model file, for a study that starts from it; give the model's hash."""
    store, own = MemoryStore(), OwnModule(module)
    blob = write_vector(store, own.read(), own.layout).blob
    export_safetensors(store, blob, path)
    return blob


def _travelling(module: nn.Module) -> dict[str, torch.Tensor]:
    """Give what travels, sorted by name, as it is now: a module may have been moved to another device."""
    tensors = float_tensors(module)
    seen: set[tuple[torch.device, int, torch.Size]] = set()
    travelling: dict[str, torch.Tensor] = {}
    for name in sorted(tensors):
        tensor = tensors[name]
        place = (tensor.device, tensor.data_ptr(), tensor.shape)
        if tensor.numel() and (tensor.is_meta or place not in seen):
            seen.add(place)
            travelling[name] = tensor
    return travelling
