"""A rehearsal: a whole study on this machine, with this site's data and settings, among stand-in sites."""

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from rich.console import Console

from ledger.client import Ledger
from ledger.devnet import Devnet
from ledger.rpc import connect
from ledger.stream import EventStream
from node import policy
from node.config import NodeConfig
from node.demo.cluster import Cluster, SiteProcess
from node.demo.play import await_results, follow, result_of
from node.demo.scene import Scene, SitePlan, set_up
from node.demo.watch import Watcher
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
    if not config.data:
        raise OperatorError("config.toml names no data: set [data] to what this site trains on")
    policy.refuse_breaches(policy.load(folder.home), spec)
    if not spec.model.initial:
        spec = spec.with_initial(write_initial(spec, MemoryStore()).blob)
    count = max(FEWEST_SITES, spec.round.min_sites) if sites is None else sites
    if count < spec.round.min_sites:
        raise OperatorError(f"a merge of this study needs {spec.round.min_sites} sites; rehearse with as many at least")
    progress = Console(stderr=True, soft_wrap=True, highlight=False)
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as out:
        return _play(Path(out), _plans(folder, config, count), spec, progress)


def _plans(folder: SiteFolder, config: NodeConfig, count: int) -> list[SitePlan]:
    """This site, under its own name and with its own training process, and its stand-ins."""
    settings: Mapping[str, Any] = {"worker": list(config.worker)}
    names = [config.name, *(f"stand-in {number}" for number in range(1, count))]
    return [SitePlan(name, config.data_at(folder.home), settings) for name in names]


def _play(out: Path, plans: list[SitePlan], spec: StudySpec, progress: Console) -> dict[str, Any]:
    with ExitStack() as stack:
        devnet = stack.enter_context(Devnet.start(out / "chain"))
        scene = set_up(out, devnet.ipc, spec, plans)
        ledger = Ledger(stack.enter_context(closing(connect(devnet.ipc))), scene.deployment)
        watcher = Watcher(EventStream(ledger), scene.study)
        watcher.catch_up()
        cluster = stack.enter_context(Cluster([SiteProcess(home.name, home) for home in scene.homes]))
        progress.print(f"rehearsing {spec.study.name} with {', '.join(site.name for site in cluster.sites)}")
        follow(watcher, cluster, progress, spec.training.rounds)
        await_results(scene, cluster)
        return _outcome(watcher, scene, spec)


def _outcome(watcher: Watcher, scene: Scene, spec: StudySpec) -> dict[str, Any]:
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
