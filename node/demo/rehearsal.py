"""A rehearsal: a whole study on this machine, with this site's data and settings, among stand-in sites."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from node import policy
from node.config import NodeConfig
from node.demo.play import result_of
from node.demo.scene import SitePlan
from node.demo.stage import Stage, staged
from node.errors import OperatorError
from node.site_folder import SiteFolder
from swarm.memory_store import MemoryStore
from swarm.models import write_initial
from swarm.spec import StudySpec

FEWEST_SITES = 2


def rehearse(folder: SiteFolder, config: NodeConfig, spec: StudySpec, *, sites: int | None) -> dict[str, Any]:
    """Run a study to its end on a chain of its own; nothing of it touches the consortium or the site's folder.

    The stand-ins train on copies of this site's data: the study runs as it would, but its model is worth nothing.
    Raises StudyRefused where the site's policy forbids it, and DemoError where it didn't come to its end.
    """
    if spec.model.custom:
        raise OperatorError(
            "a custom model is trained by each site's own loop, and stand-in sites have none; examples/own_loop.py "
            "shows such a study with all its sites on one machine"
        )
    if not config.data:
        raise OperatorError("config.toml names no data: set [data] to what this site trains on")
    policy.refuse_breaches(policy.load(folder.home), spec)
    if not spec.model.initial:
        spec = spec.with_initial(write_initial(spec, MemoryStore()).blob)
    count = max(FEWEST_SITES, spec.round.min_sites) if sites is None else sites
    if count < spec.round.min_sites:
        raise OperatorError(f"a merge of this study needs {spec.round.min_sites} sites; rehearse with as many at least")
    progress = Console(stderr=True, soft_wrap=True, highlight=False)
    plans = _plans(folder, config, count)
    with (
        tempfile.TemporaryDirectory(prefix="rehearsal-") as out,
        staged(Path(out), spec, plans, progress) as stage,
    ):
        progress.print(f"rehearsing {spec.study.name} with {', '.join(plan.name for plan in plans)}")
        stage.play()
        return _outcome(stage, spec)


def _plans(folder: SiteFolder, config: NodeConfig, count: int) -> list[SitePlan]:
    """This site, under its own name and with its own training process, and its stand-ins."""
    settings: Mapping[str, Any] = {"worker": list(config.worker)}
    names = [config.name, *(f"stand-in {number}" for number in range(1, count))]
    return [SitePlan(name, config.data_at(folder.home), settings) for name in names]


def _outcome(stage: Stage, spec: StudySpec) -> dict[str, Any]:
    watcher, scene = stage.watcher, stage.scene
    rounds = watcher.clock.seconds
    took = [sum(phases.values()) for number, phases in sorted(rounds.items()) if number > 0]
    result = result_of(scene, scene.homes[0]) or {}
    return {
        "name": spec.study.name,
        "spec_hash": spec.hash.hex(),
        "sites": len(scene.homes),
        "rounds": len(watcher.watched.rounds),
        "seconds_per_round": {"mean": sum(took) / len(took), "longest": max(took)} if took else None,
        "terms_lost": sum(term.fault is not None for one in watcher.watched.rounds for term in one.terms),
        "metrics": result.get("metrics"),
    }
