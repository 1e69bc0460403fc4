"""A swarm on this machine for as long as it is needed: a development chain, sites that run, and one study proposed."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ledger.client import Ledger
from ledger.devnet import Devnet
from ledger.rpc import connect
from ledger.stream import EventStream
from node.demo.cluster import Cluster, SiteProcess
from node.demo.play import await_results, follow
from node.demo.scene import Scene, SitePlan, found, set_up
from node.demo.watch import Watcher
from swarm.spec import StudySpec


@dataclass(frozen=True, slots=True)
class Stage:
    """What is there while a scene is played."""

    scene: Scene
    rounds: int
    watcher: Watcher
    cluster: Cluster
    progress: Console

    def play(self, check: Callable[[], None] = lambda: None) -> None:
        """Follow the study to its end, and await what each site found; raises DemoError, and what `check` raises."""
        follow(self.watcher, self.cluster, self.progress, self.rounds, check)
        await_results(self.scene, self.cluster)


@contextmanager
def staged(out: Path, spec: StudySpec, plans: Sequence[SitePlan], progress: Console) -> Iterator[Stage]:
    """Start a chain and a process for each site, all of which agree to the study; everything stops at the end.

    `spec` is complete: it names its initial model. `out` is a folder that holds no other scene.
    """
    with ExitStack() as stack:
        devnet = stack.enter_context(Devnet.start(out / "chain"))
        scene = set_up(out, devnet.ipc, spec, plans)
        ledger = Ledger(stack.enter_context(closing(connect(devnet.ipc))), scene.deployment)
        watcher = Watcher(EventStream(ledger), scene.study)
        watcher.catch_up()
        cluster = stack.enter_context(Cluster([SiteProcess(home.name, home) for home in scene.homes]))
        yield Stage(scene, spec.training.rounds, watcher, cluster, progress)


@contextmanager
def consortium(out: Path, plans: Sequence[SitePlan]) -> Iterator[tuple[Path, ...]]:
    """Start a chain and a process for each site, none of which has agreed to anything yet; gives the sites' folders."""
    with ExitStack() as stack:
        devnet = stack.enter_context(Devnet.start(out / "chain"))
        _, _, homes = found(out, devnet.ipc, plans)
        stack.enter_context(Cluster([SiteProcess(home.name, home) for home in homes]))
        yield homes
