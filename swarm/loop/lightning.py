"""The same few lines for Lightning: `Trainer(callbacks=[LightningSwarmCallback(home="site", study=1)], max_epochs=-1)`.

It needs the extra `lightning`. See `swarm.loop.callback` for what happens.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from swarm.errors import LoopError
from swarm.loop.callback import SwarmCallback
from swarm.loop.link import Tell
from swarm.loop.participant import Metrics


class LightningSwarmCallback(Callback):
    """Takes part in one study with a LightningModule, or with a `part` of it, named as `get_submodule` takes it.

    A step is an optimizer's step, also where gradients are accumulated over batches. `samples` are the records of the
    training loader's dataset unless given. `monitor` is the logged metric that is a validation loss. The training
    stops with the study; let `max_epochs=-1` leave it to that.
    """

    def __init__(
        self,
        *,
        home: str | Path,
        study: int,
        part: str = "",
        samples: int | None = None,
        evaluate: Callable[[], Metrics] | None = None,
        monitor: str = "val_loss",
        adaptive: bool = True,
        tell: Tell | None = None,
    ) -> None:
        self._options: dict[str, Any] = {
            "home": home,
            "study": study,
            "evaluate": evaluate,
            "monitor": monitor,
            "adaptive": adaptive,
            "tell": tell,
        }
        self._part = part
        self._samples = samples
        self._swarm: SwarmCallback | None = None
        self._steps = 0

    @property
    def swarm(self) -> SwarmCallback:
        """The callback beneath; there is none before the training begins."""
        if self._swarm is None:
            raise LoopError("the training has not begun")
        return self._swarm

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for the study, and load the base model; raises like `SwarmCallback.on_train_begin`."""
        if trainer.world_size > 1:
            raise LoopError("one process trains for a site: several would each hand over an update of their own")
        samples = self._samples if self._samples is not None else _records(trainer)
        self._swarm = SwarmCallback(pl_module.get_submodule(self._part), samples=samples, **self._options)
        self._steps = trainer.global_step
        self._swarm.on_train_begin()
        trainer.should_stop = self._swarm.finished

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a step, where the optimizer made one."""
        if trainer.global_step == self._steps:
            return
        self._steps = trainer.global_step
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        self.swarm.on_batch_end(loss if isinstance(loss, torch.Tensor) else None)
        trainer.should_stop = trainer.should_stop or self.swarm.finished

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell what a validation has logged."""
        logged = {name: float(value) for name, value in trainer.callback_metrics.items() if value.numel() == 1}
        self.swarm.on_epoch_end(logged)
        trainer.should_stop = trainer.should_stop or self.swarm.finished

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the study's final model in the module."""
        self.swarm.on_train_end()


def _records(trainer: Trainer) -> int:
    try:
        return len(trainer.train_dataloader.dataset)  # type: ignore[union-attr]
    except (AttributeError, TypeError):
        raise LoopError("give samples: the training loader's dataset doesn't tell how many records it has") from None
