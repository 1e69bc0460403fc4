"""Small studies of training loops, and modules for them."""

import torch
from torch import nn

from swarm.loop.module import describe
from swarm.memory_store import MemoryStore
from swarm.models import write_initial
from swarm.spec import StudySpec


def small_module() -> nn.Module:
    """Parameters, float buffers and an integer buffer."""
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 1))


def loop_spec(module: nn.Module | None = None, **sections: dict[str, object]) -> StudySpec:
    """A study of this module, with its first model; keyword arguments replace fields of sections."""
    record: dict[str, dict[str, object]] = {
        "study": {"name": "loops", "task": "binary"},
        "data": {"features": ["a", "b"], "label": "y", "classes": ["no", "yes"], "standardise": False},
        "model": {"architecture": "custom", "layout": describe(module or small_module())},
        "training": {"rounds": 3, "local_steps": 2, "learning_rate": 0.1},
        "merge": {"clip_norm": 5.0},
        "round": {"min_sites": 1},
    }
    for name, fields in sections.items():
        record.setdefault(name, {}).update(fields)
    draft = StudySpec.model_validate(record)
    return draft if draft.model.initial else draft.with_initial(write_initial(draft, MemoryStore()).blob)


def descend(module: nn.Module, optimizer: torch.optim.Optimizer, seed: int = 0) -> torch.Tensor:
    """One step of anybody's training."""
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(8, 2, generator=draw)
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(module(features)[:, 0], features[:, 0] - features[:, 1])
    loss.backward()
    optimizer.step()
    return loss
