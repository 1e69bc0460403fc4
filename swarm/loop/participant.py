"""A training loop's part in a study: base models taken up, updates made of what was trained, and handed to the node."""

import time
from collections.abc import Callable, Mapping
from math import inf, isfinite
from typing import Any

import torch

from swarm.errors import LoopError, SwarmError
from swarm.folder_store import FolderStore
from swarm.loop.interval import Feedback, agreement, next_interval
from swarm.loop.link import Link, Tell
from swarm.loop.meeting import Evaluate, Place, Train
from swarm.loop.module import OwnModule
from swarm.site import contribute
from swarm.spec import StudySpec
from swarm.training import Trained
from swarm.weights import Floats, read_vector

MAX_METRICS = 64

Metrics = Mapping[str, float]


class Participant:
    """One module in one study, from the first base to the final model."""

    def __init__(self, module: OwnModule, spec: StudySpec, place: Place, samples: int, tell: Tell) -> None:
        self.task: Train | None = None
        self.final: bytes | None = None
        self.interval = spec.training.local_steps
        self.epochs = spec.training.local_epochs
        self.link = Link(place.folder, spec.hash, tell)
        self._module = module
        self._spec = spec
        self._samples = samples
        self._store = FolderStore(place.blobs)
        self._base: Floats | None = None
        self._began = 0.0
        self._steps = self._epochs = 0
        self._loss: Any = 0.0
        self._validation: float | None = None
        self._validation_before: float | None = None

    def step(self, loss: Any) -> bool:
        """Count an optimisation step; True where it is time to synchronise."""
        self._steps += 1
        if loss is not None:  # summed up where it is: to fetch a number from an accelerator costs more than a step
            self._loss = self._loss + (loss.detach() if isinstance(loss, torch.Tensor) else loss)
        return bool(self.interval) and self._steps >= self.interval

    def epoch(self, validation: float | None) -> bool:
        """Count a pass over the data; True where it is time to synchronise."""
        if validation is not None:
            self._validation = float(validation) if isfinite(validation) else inf
        self._epochs += 1
        return bool(self.epochs) and self._epochs >= self.epochs

    def synchronise(self, task: Train, *, adaptive: bool) -> Train | Evaluate:
        """Make the update of a task and hand it over; give what the node asks for next."""
        trained = self._trained()
        try:
            made = contribute(self._spec, self._module.layout, trained, self.base, self._store, samples=self._samples)
        except SwarmError as error:
            if self.link.wait() == task:
                self.link.answer({"event": "error", "code": error.code, "message": str(error)[:1024]})
            self.link.close()
            raise
        while (request := self.link.wait()) == task:
            self.link.answer({"event": "done", **made.record()})
        if adaptive and isinstance(request, Train) and request.round == task.round + 1:
            self._adapt(trained.vector, self._read(request.base))
        return request

    def take_up(self, task: Train) -> None:
        """Load the base of a round."""
        self.load(task.base)
        self.task, self._steps, self._epochs, self._loss = task, 0, 0, 0.0
        self._began = time.monotonic()

    def conclude(self, model: bytes, measure: Callable[[], Metrics] | None) -> None:
        """Load the final model, and tell the node what this site measured of it."""
        self.load(model)
        self.task, self.final = None, model
        metrics = None if measure is None else _finite(measure())
        self.link.answer({"event": "done", "metrics": metrics})
        self.link.close()

    @property
    def base(self) -> Floats:
        """The vector that was loaded last."""
        if self._base is None:
            raise LoopError("no base model was loaded yet: call on_train_begin first")
        return self._base

    def load(self, blob: bytes) -> None:
        """Set the module to a model."""
        self._base = self._read(blob)
        self._module.load(self._base)

    def _read(self, blob: bytes) -> Floats:
        vector, layout = read_vector(self._store, blob)
        if layout != self._module.layout:
            raise LoopError(f"model {blob.hex()} isn't one of this study's layout")
        return vector

    def _trained(self) -> Trained:
        loss = float(self._loss) / max(self._steps, 1)
        seconds = time.monotonic() - self._began
        return Trained(self._module.read(), loss if isfinite(loss) else 0.0, self._steps, seconds)

    def _adapt(self, own: Floats, merged: Floats) -> None:
        """Choose the next interval from what the swarm made of this site's update."""
        before, now = self._validation_before, self._validation
        self._validation_before, self._validation = now, None
        worsened = None if before is None or now is None else now > before
        seen = Feedback(agreement(self.base, own, merged), worsened)
        if self.interval and self._spec.training.max_local_steps:
            self.interval = next_interval(self.interval, self._spec.training, seen)


def _finite(metrics: Metrics) -> dict[str, float]:
    numbers = {str(name)[:64]: float(value) for name, value in list(metrics.items())[:MAX_METRICS]}
    return {name: value for name, value in numbers.items() if isfinite(value)}
