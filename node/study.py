"""A study as a Python object, for those who start from nothing: written, tried, proposed and awaited.

    study = Study.new("stroke", task="binary", data={"features": [...], "classes": [...]}, model="mlp", rounds=10)
    study.simulate({"a": {"source": "csv", "path": "a.csv"}, ...})   # in this process: swarm.simulation
    study.rehearse("site")                                          # real processes here: swarm-node rehearse
    proposed = study.propose("site")                                # swarm-node study propose
    proposed.accept()                                               # swarm-node study accept
    proposed.wait()                                                 # until it has ended
    proposed.export("model", "onnx")                                # swarm-node model export

Every method is a few lines around what the command of that name runs; the object holds a specification, no more.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from ledger.types import Status
from node import config as configuration
from node.errors import OperatorError
from node.files import write_once
from node.operator import models, studies
from node.operator.desk import open_desk
from node.operator.inspection import in_words
from node.operator.standing import standing
from node.site_folder import SiteFolder
from node.study_folder import StudyFolder
from swarm.data import load
from swarm.errors import SpecificationError
from swarm.evaluation import Comparison, compare
from swarm.loop.module import describe
from swarm.memory_store import MemoryStore
from swarm.model_file import import_safetensors
from swarm.sections import CUSTOM
from swarm.simulation import Simulation, run
from swarm.spec import StudySpec

Section = Mapping[str, Any]
Sources = Mapping[str, Section]

POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Study:
    """A study that is being written; what runs is its specification, `spec`, which a TOML file holds as well."""

    spec: StudySpec

    @classmethod
    def new(
        cls,
        name: str,
        *,
        task: str,
        data: Section,
        model: Any,
        rounds: int,
        description: str = "",
        training: Section | None = None,
        merge: Section | None = None,
        privacy: Section | None = None,
        round: Section | None = None,
    ) -> "Study":
        """Write a study; sections are those of the TOML file, and have its defaults.

        `model` is an architecture's name, a section, or a torch module of one's own: then each site trains it with its
        own loop (`swarm.loop`). Where nothing is said, a round is one epoch at a learning rate of 0.05, updates are
        clipped at 10, and two sites are enough. Raises SpecificationError naming each wrong field.
        """
        record = {
            "study": {"name": name, "task": task, "description": description},
            "data": {**({"standardise": False} if not isinstance(model, str | Mapping) else {}), **data},
            "model": _model(model),
            "training": {"rounds": rounds, "learning_rate": 0.05, **_amount(training or {}), **(training or {})},
            "merge": {"clip_norm": 10.0, **(merge or {})},
            "privacy": dict(privacy or {}),
            "round": {"min_sites": 2, **(round or {})},
        }
        return cls(StudySpec.from_toml(tomli_w.dumps(record)))

    @classmethod
    def load(cls, path: str | Path) -> "Study":
        """Read a study's TOML file."""
        return cls(studies.read_file(Path(path)))

    def save(self, path: str | Path) -> None:
        """Write it as a TOML file, which `swarm-node study propose` takes too; raises FileExistsError."""
        record = self.spec.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
        write_once(Path(path), tomli_w.dumps(record).encode())

    def starting_from(self, path: str | Path) -> "Study":
        """Start a custom model from a file (`swarm.loop.module.save`), which every site imports first.

        Raises SpecificationError where its tensors are not the study's, and BlobInvalid.
        """
        manifest = import_safetensors(path, MemoryStore())
        if manifest.tensors != self.spec.model.tensors:
            raise SpecificationError(f"model.initial: {path} does not have the tensors of a custom model's layout")
        return Study(self.spec.with_initial(manifest.blob))

    def in_words(self) -> str:
        """What the study does at a site, as its operator reads it."""
        return "\n".join(f"{about}: {says}" for about, says in in_words(self.spec))

    def simulate(self, sources: Sources) -> Simulation:
        """Run it in this process among sites with these data sources, by name; its model is the network's, to the byte.

        Raises SpecificationError for a model of one's own, which this program can't train, and DataError.
        """
        return run(self.spec, {name: load(source, self.spec) for name, source in sources.items()})

    def compare(self, sources: Sources) -> Comparison:
        """Simulate it, and hold the swarm's model against each site's own and one trained on everybody's data."""
        return compare(self.spec, {name: load(source, self.spec) for name, source in sources.items()})

    def rehearse(self, home: str | Path, *, sites: int | None = None) -> dict[str, Any]:
        """Run it on this machine, with a site's data and settings, among stand-in sites on a chain of their own."""
        from node.demo.rehearsal import rehearse

        folder = SiteFolder(Path(home).absolute())
        return rehearse(folder, configuration.load(folder.home), self.spec, sites=sites)

    def propose(self, home: str | Path) -> "Proposed":
        """Put it on the ledger, from a site's desk."""
        with open_desk(Path(home), signing=True) as desk:
            return Proposed(Path(home), int(studies.propose(desk, self.spec)["study"]))


@dataclass(frozen=True, slots=True)
class Proposed:
    """A study on the ledger, seen from one site's desk."""

    home: Path
    number: int

    def at(self, home: str | Path) -> "Proposed":
        """The same study from another site's desk."""
        return Proposed(Path(home), self.number)

    def accept(self) -> dict[str, Any]:
        """Accept it exactly as it is on the ledger, once this site's policy and data allow it."""
        with open_desk(self.home, signing=True) as desk:
            return studies.accept(desk, self.number, desk.study(self.number).spec_hash.hex())

    def standing(self) -> dict[str, Any]:
        """Where it stands, and what it waits for."""
        with open_desk(self.home, signing=False) as desk:
            return standing(desk, desk.study(self.number))

    def wait(self, *, seconds: float | None = None) -> dict[str, Any]:
        """Wait until it has ended and this site knows the result; gives it, with the metrics of the final model.

        Raises OperatorError where the study was aborted, or isn't over after so many seconds.
        """
        until = None if seconds is None else time.monotonic() + seconds
        with open_desk(self.home, signing=False) as desk:
            while (found := self.result()) is None:
                desk.catch_up()
                study = desk.study(self.number)
                if study.status is Status.ABORTED:
                    raise OperatorError(f"study {self.number} was aborted")
                if until is not None and time.monotonic() > until:
                    waits = standing(desk, study)["waits_for"]
                    raise OperatorError(f"study {self.number} isn't over after {seconds:g} seconds: {waits}")
                time.sleep(POLL_SECONDS)
            return found

    def result(self) -> dict[str, Any] | None:
        """What this site's node noted of its end; None before."""
        return StudyFolder(SiteFolder(self.home.absolute()).study(self.number)).result()

    def export(self, out: str | Path, form: str = models.SAFETENSORS) -> dict[str, Any]:
        """Write the final model and its card into a folder."""
        with open_desk(self.home, signing=False) as desk:
            return models.export(desk, self.number, Path(out).absolute(), form)


def _model(model: Any) -> dict[str, Any]:
    if isinstance(model, str):
        return {"architecture": model}
    if isinstance(model, Mapping):
        return dict(model)
    return {"architecture": CUSTOM, "layout": describe(model)}


def _amount(training: Section) -> dict[str, int]:
    return {} if {"local_epochs", "local_steps"} & training.keys() else {"local_epochs": 1}
