"""A few lines that let a training loop take part in a study of its site's swarm.

    swarm = SwarmCallback(model, home="site", study=1, samples=len(records))
    swarm.on_train_begin()                      # the model gets the round's base weights
    while not swarm.finished:
        for features, labels in loader:
            ...                                 # forward, backward, optimizer.step(), as ever
            swarm.on_batch_end(loss)            # hands an update over where it is time, and goes on from the next base
        swarm.on_epoch_end({"val_loss": ...})   # optional: what a validation found
    swarm.on_train_end()                        # the model is the study's final one

`swarm-node run --home site` runs beside it; either may start first, and either may restart. The study's model is
`custom`: known by the names and shapes of its tensors.

What leaves is made here by the one path by which anything may leave (`swarm.privacy.egress`): the difference from the
base, clipped, in fixed point. The optimizer's state stays with the loop, and goes on from base to base. Training data
is read by the loop alone; the site's weight in a merge is `samples`, up to the study's cap.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from swarm.errors import LoopError, UpdateError
from swarm.loop.link import Tell
from swarm.loop.meeting import Evaluate, Place, Train
from swarm.loop.module import OwnModule
from swarm.loop.participant import Metrics, Participant
from swarm.spec import MAX_SPEC_BYTES, StudySpec

WAIT_SECONDS = 0.2


class SwarmCallback:
    """Takes part in one study with one module; the hooks are called from the thread that trains.

    `samples` is the number of records that the loop trains on. `evaluate`, where given, measures the final model on
    this site's own test data: a mapping of names to numbers, which stays at the site. `monitor` names the metric of
    `on_epoch_end` that is a validation loss. `adaptive=False` keeps to the study's `local_steps` where it allows more.
    `tell` is given a sentence whenever the loop waits; without it, standard error is.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        home: str | Path,
        study: int,
        samples: int,
        evaluate: Callable[[], Metrics] | None = None,
        monitor: str = "val_loss",
        adaptive: bool = True,
        tell: Tell | None = None,
    ) -> None:
        self._model = model
        self._place = Place(Path(home).absolute(), study)
        self._samples = samples
        self._evaluate = evaluate
        self._monitor = monitor
        self._adaptive = adaptive
        self._tell = tell or _tell
        self._part: Participant | None = None

    @property
    def finished(self) -> bool:
        """Whether the study is over, and the model was set to its final one."""
        return self._part is not None and self._part.final is not None

    @property
    def round(self) -> int:
        """The round that is being trained for; 0 before the first one and after the last."""
        return self._part.task.round if self._part is not None and self._part.task is not None else 0

    @property
    def interval(self) -> int:
        """Steps from one synchronisation to the next; 0 where the study counts epochs."""
        return self._begun().interval

    def on_train_begin(self) -> None:
        """Wait for the study to run, and load the base model.

        Raises LayoutDiffers where the model doesn't have the study's tensors, UpdateError where there are too few
        records for anything to leave, and LoopError where the study is none for training loops or was aborted.
        """
        spec = self._read_spec()
        module = OwnModule(self._model)
        module.check(spec.model.tensors)
        if self._samples < spec.privacy.min_samples:
            raise UpdateError(
                f"{self._samples} records: nothing leaves a site with fewer than {spec.privacy.min_samples}"
            )
        self._part = Participant(module, spec, self._place, self._samples, self._tell)
        self._go_on(self._part, self._part.link.wait())

    def on_batch_end(self, loss: Any = None) -> None:
        """Count a training step, after `optimizer.step()`; synchronise where the interval is over.

        `loss` is a number or a tensor of one element, for the record. Where the swarm has gone on without this site's
        update, the loop goes on from the newer base. Raises LoopError, or UpdateError where nothing may leave.
        """
        part = self._begun()
        if part.task is None:
            return
        due = part.step(loss)
        request = part.link.poll()
        if request is not None and request != part.task:
            self._go_on(part, request)
        elif due:
            self._go_on(part, part.synchronise(part.task, adaptive=self._adaptive))

    def on_epoch_end(self, metrics: Metrics | None = None) -> None:
        """Note what a validation found, and synchronise where the study counts epochs; raises like `on_batch_end`."""
        part = self._begun()
        if part.epoch((metrics or {}).get(self._monitor)) and part.task is not None:
            self._go_on(part, part.synchronise(part.task, adaptive=self._adaptive))

    def on_train_end(self) -> None:
        """Leave the study's final model in the module, waiting for the other sites where they aren't done.

        A loop that ends before its study takes no part in the rounds that are left; what it trained since its last
        synchronisation is not handed over. One that went on after the study's end gets the final model again.
        """
        part = self._begun()
        while part.final is None:
            request = part.link.wait()
            if isinstance(request, Train):
                self._tell("the training has ended before its study; waiting for the final model")
                part.link.pass_over()
            else:
                self._go_on(part, request)
        part.load(part.final)

    def _go_on(self, part: Participant, request: Train | Evaluate) -> None:
        if isinstance(request, Train):
            part.take_up(request)
        else:
            part.conclude(request.model, self._evaluate)

    def _begun(self) -> Participant:
        if self._part is None:
            raise LoopError("call on_train_begin before the other hooks")
        return self._part

    def _read_spec(self) -> StudySpec:
        """Wait for the study as the site's node wrote it down."""
        path, study = self._place.folder / "spec.json", self._place.study
        if not path.exists():
            self._tell(f"waiting for the site's node to begin study {study}: is it running, and the study accepted?")
        while not path.exists():
            time.sleep(WAIT_SECONDS)
        with path.open("rb") as file:
            spec = StudySpec.from_json(file.read(MAX_SPEC_BYTES + 1))
        if not spec.model.custom:
            raise LoopError(
                f"study {study} trains the built-in model {spec.model.architecture!r} by itself; a study for training "
                "loops has the architecture 'custom'"
            )
        return spec


def _tell(sentence: str) -> None:
    sys.stderr.write(f"swarm: {sentence}\n")
