"""The demo from end to end: a chain, N sites, a study, and what came of it."""

import json
import shutil
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from rich.console import Console

from ledger.client import Ledger
from ledger.devnet import Devnet
from ledger.rpc import connect
from ledger.stream import EventStream
from node.demo import plot, report
from node.demo.cluster import Cluster, SiteProcess
from node.demo.comparison import Compared, compare_sites
from node.demo.options import DemoOptions, DemoRecord, check
from node.demo.play import await_results, follow, result_of
from node.demo.scene import Scene, SitePlan, reopen, set_up, with_rounds
from node.demo.watch import Watcher
from node.errors import DemoError
from node.files import write_atomically
from node.site_folder import SiteFolder
from node.study_folder import StudyFolder
from swarm import studies
from swarm.data import SiteData
from swarm.data import load as load_data
from swarm.folder_store import FolderStore
from swarm.memory_store import MemoryStore
from swarm.models import write_initial
from swarm.moments import standardisation
from swarm.spec import StudySpec
from swarm.weights import read_vector

LIMITS = {"accept_seconds": 120, "collect_seconds": 60, "grace_seconds": 5, "merge_seconds": 6, "review_seconds": 20}
"""Short time limits, in seconds: everything is on one machine, and a newcomer is watching."""


def run_demo(options: DemoOptions, *, quiet_stdout: bool) -> dict[str, Any]:
    """Run a demo and print its story; gives the data of its envelope."""
    progress = Console(stderr=True, soft_wrap=True, highlight=False)
    options = check(options)
    files = _files(options)
    with ExitStack() as stack:
        devnet = stack.enter_context(Devnet.start(files["chain"]))
        progress.print(f"chain: a development chain on this machine, {devnet.url}")
        spec, scene = _scene(options, devnet.ipc, progress)
        ledger = Ledger(stack.enter_context(closing(connect(devnet.ipc))), scene.deployment)
        watcher = Watcher(EventStream(ledger), scene.study)
        watcher.catch_up()
        cluster = stack.enter_context(Cluster(_processes(options, scene)))
        progress.print(f"sites: {', '.join(site.name for site in cluster.sites)}, each a process of its own")
        follow(watcher, cluster, progress, spec.training.rounds)
        await_results(scene, cluster)
        compared = _compare(options, spec, scene, progress)
        made = report.make(watcher, ledger, EventStream(ledger).poll(), compared, files)
    plot.draw(made.data, files["plot"])
    write_atomically(files["report"], json.dumps(made.data, indent=2).encode())
    made.show(progress if quiet_stdout else Console())
    return made.data


def _files(options: DemoOptions) -> dict[str, Path]:
    """What a demo leaves, and where."""
    out = options.out
    return {
        "chain": out / "chain",
        "sites": out / "sites",
        "model": out / "model.safetensors",
        "plot": out / "demo.png",
        "report": out / "report.json",
    }


def _scene(options: DemoOptions, rpc_url: str, progress: Console) -> tuple[StudySpec, Scene]:
    """Set the sites up, or find them where an earlier run left them."""
    if options.resume:
        record = DemoRecord.load(options.out)
        scene = reopen(options.out, rpc_url, record.study, options.names())
        spec = StudySpec.from_json(StudyFolder(SiteFolder(scene.homes[0]).study(scene.study)).spec_path.read_bytes())
        progress.print(f"resuming study {scene.study} in {options.out}")
        return spec, scene
    sites = [load_data(options.data(site), _draft(options)) for site in range(options.sites)]
    spec = _specification(options)
    plans = [SitePlan(name, options.data(site)) for site, name in enumerate(options.names())]
    scene = set_up(options.out, rpc_url, spec, plans)
    DemoRecord(options.sites, options.rounds, options.seed, options.source, _text(options.path), scene.study).save(
        options.out
    )
    shares = ", ".join(
        f"{plan.name} {len(site.train)}+{len(site.test)}" for plan, site in zip(plans, sites, strict=True)
    )
    progress.print(f"data: {options.source}; training + test patients: {shares}")
    progress.print(f"study: {spec.study.name}, {spec.training.rounds} rounds, specification {spec.hash.hex()[:16]}")
    return spec, scene


def _text(path: Path | None) -> str | None:
    return str(path) if path is not None else None


def _draft(options: DemoOptions) -> StudySpec:
    """The built-in study with this demo's rounds, seed and time limits."""
    draft = studies.draft(options.source)
    enough = -(-2 * options.sites // 3)
    return with_rounds(draft, options.rounds, enough, options.seed, **LIMITS)


def _specification(options: DemoOptions) -> StudySpec:
    """The draft with its initial model, as it is proposed."""
    draft = _draft(options)
    return draft.with_initial(write_initial(draft, MemoryStore()).blob)


def _processes(options: DemoOptions, scene: Scene) -> list[SiteProcess]:
    plan = [] if options.kill_leader is None else ["--die-at", f"before-publish@{options.kill_leader}"]
    return [SiteProcess(home.name, home, plan) for home in scene.homes]


def _compare(options: DemoOptions, spec: StudySpec, scene: Scene, progress: Console) -> Compared:
    """Hold the swarm's model, as a site has it on its disk, against models trained alone and on everybody's data."""
    progress.print("comparing with models trained alone and on everybody's data, over several splits ...")
    study = SiteFolder(scene.homes[0]).study(scene.study)
    shutil.copyfile(StudyFolder(study).model_path, _files(options)["model"])
    store = FolderStore(SiteFolder(scene.homes[0]).blobs)
    result = result_of(scene, scene.homes[0])
    if result is None:
        raise DemoError("the first site has no result")
    vector, _ = read_vector(store, bytes.fromhex(result["model"]))
    agreed = standardisation(store, bytes.fromhex(result["moments"])) if result["moments"] else None

    def split(seed: int | None) -> dict[str, SiteData]:
        return {name: load_data(options.data(index, seed), spec) for index, name in enumerate(options.names())}

    return compare_sites(spec, split(None), (vector, agreed), split)
