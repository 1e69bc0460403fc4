"""A study of training loops with all its sites on this machine: how the examples show what hospitals do."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from node.demo.play import result_of
from node.demo.scene import SitePlan
from node.demo.stage import staged
from node.errors import DemoError
from swarm.memory_store import MemoryStore
from swarm.models import write_initial
from swarm.spec import StudySpec

STOP_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class LoopProcess:
    """One hospital's training program."""

    name: str
    process: subprocess.Popen[bytes]


def run_with_loops(spec: StudySpec, script: Path, sites: int) -> dict[str, dict[str, Any]]:
    """Run a study of a custom model among sites on this machine; gives what each site's node noted, by name.

    For each site `script --home HOME --study NUMBER --shard INDEX --shards SITES` is started: the program that a
    hospital's data scientist starts beside the node. Raises DemoError where one of them fails.
    """
    progress = Console(stderr=True, soft_wrap=True, highlight=False)
    if not spec.model.initial:
        spec = spec.with_initial(write_initial(spec, MemoryStore()).blob)
    plans = [SitePlan(f"site-{number}", {}) for number in range(1, sites + 1)]
    with tempfile.TemporaryDirectory(prefix="loops-") as out, staged(Path(out), spec, plans, progress) as stage:
        progress.print(f"{spec.study.name}: a development chain and {sites} sites, each with a training loop beside it")
        homes, study = stage.scene.homes, stage.scene.study
        with _started(script, homes, study) as loops:
            stage.play(lambda: _check(loops))
            for loop in loops:
                loop.process.wait(STOP_SECONDS)
            _check(loops)
        return {home.name: result_of(stage.scene, home) or {} for home in homes}


@contextmanager
def _started(script: Path, homes: Sequence[Path], study: int) -> Iterator[list[LoopProcess]]:
    """The loops, started with the processes' own output, and never left behind."""
    loops: list[LoopProcess] = []
    try:
        for shard, home in enumerate(homes):
            where = ["--home", str(home), "--study", str(study), "--shard", str(shard), "--shards", str(len(homes))]
            process = subprocess.Popen([sys.executable, str(script), *where], stdin=subprocess.DEVNULL)
            loops.append(LoopProcess(home.name, process))
        yield loops
    finally:
        for loop in loops:
            loop.process.kill()
            loop.process.wait()


def _check(loops: Sequence[LoopProcess]) -> None:
    """Raise DemoError where a loop has failed."""
    failed = [loop.name for loop in loops if loop.process.poll() not in (None, 0)]
    if failed:
        raise DemoError(f"the training program of {', '.join(failed)} ended with an error; see what it said above")
