"""A whole swarm of real processes for one test: a devnet, sites, a short study, and what must come of it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ledger.client import Ledger
from ledger.devnet import Devnet
from ledger.events import Event
from ledger.rpc import connect
from ledger.state import StudyState
from ledger.stream import EventStream
from ledger.types import seats_of
from node.demo.cluster import Cluster, SiteProcess
from node.demo.scene import Scene, SitePlan, set_up, with_rounds
from node.demo.watch import Watcher
from node.site_folder import SiteFolder
from node.study_folder import StudyFolder
from swarm import simulation, studies
from swarm.data import load
from swarm.memory_store import MemoryStore
from swarm.model_file import model_hash
from swarm.models import write_initial
from swarm.spec import StudySpec

LIMITS = {"accept_seconds": 120, "collect_seconds": 60, "grace_seconds": 1, "merge_seconds": 4, "review_seconds": 10}
PATIENCE = 300.0
POLL_SECONDS = 0.02


def specification(rounds: int, min_sites: int = 3, **limits: int) -> StudySpec:
    draft = with_rounds(studies.draft("breast-cancer"), rounds, min_sites, seed=0, **{**LIMITS, **limits})
    return draft.with_initial(write_initial(draft, MemoryStore()).blob)


def source(site: int, sites: int) -> dict[str, object]:
    return {"source": "breast-cancer", "shard": site, "shards": sites, "seed": 0}


@dataclass
class Rig:
    """A running swarm, and everything that the ledger said so far."""

    scene: Scene
    spec: StudySpec
    cluster: Cluster
    watcher: Watcher
    ledger: Ledger
    devnet: Devnet | None = None
    events: list[Event] = field(default_factory=list)

    @property
    def study(self) -> StudyState:
        return self.watcher.watched

    def name_of(self, seat: int) -> str:
        return self.watcher.state.consortium.name_of(self.study.participant_at(seat).account)

    def site(self, name: str) -> SiteProcess:
        return next(site for site in self.cluster.sites if site.name == name)

    def until(self, reached: Callable[[], bool], what: str) -> None:
        """Follow the ledger until a condition holds."""
        deadline = time.monotonic() + PATIENCE
        while not reached():
            self.watcher.poll(self.events.append)
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {PATIENCE:.0f} s for {what}\n{self._last_words()}")
            if len(self.cluster.dead()) == len(self.cluster.sites):
                raise AssertionError(f"every site has ended, before {what}\n{self._last_words()}")
            time.sleep(POLL_SECONDS)

    def _last_words(self) -> str:
        return "\n".join(f"{site.name}: {site.last_words()}" for site in self.cluster.sites)

    def until_event(self, kind: type[Event], number: int) -> None:
        """Follow the ledger until an event of that kind in that round."""
        self.until(
            lambda: any(isinstance(event, kind) and getattr(event, "round", None) == number for event in self.events),
            f"{kind.__name__} in round {number}",
        )

    def until_finished(self) -> None:
        self.until(lambda: self.watcher.ended, "the end of the study")

    def merged(self, number: int) -> set[str]:
        final = self.study.round_numbered(number).final
        assert final is not None
        return {self.name_of(seat) for seat in seats_of(final.merged)}

    def expected_model(self) -> bytes:
        """What the inputs that the ledger says were merged imply, recomputed without any of the sites."""
        names = [home.name for home in self.scene.homes]
        sites = {name: load(source(index, len(names)), self.spec) for index, name in enumerate(names)}
        absent = {one.number: set(names) - self.merged(one.number) for one in self.study.rounds}
        return simulation.run(self.spec, sites, absent=absent).final_model

    def check_models(self, names: Sequence[str]) -> None:
        """Each of these sites has the final model on its disk: the ledger's, byte for byte, and the implied one."""
        folders = [StudyFolder(SiteFolder(self.site(name).home).study(self.scene.study)) for name in names]
        self.until(lambda: all(folder.result() is not None for folder in folders), "the final model at every site")
        final = self.study.final_output
        assert final is not None
        assert {model_hash(folder.model_path) for folder in folders} == {final}
        assert len({folder.model_path.read_bytes() for folder in folders}) == 1
        assert self.expected_model() == final


@contextmanager
def swarm(
    folder: Path,
    *,
    rounds: int,
    sites: int = 4,
    options: Callable[[str], Sequence[str]] = lambda name: (),
    command: Sequence[str] | None = None,
    commands: Mapping[str, Sequence[str]] | None = None,
    configs: Mapping[str, Mapping[str, Any]] | Callable[[Devnet], Mapping[str, Mapping[str, Any]]] | None = None,
    process: type[SiteProcess] = SiteProcess,
    chain: Callable[[Path], AbstractContextManager[Any]] = Devnet.start,
    min_sites: int = 3,
    **limits: int,
) -> Iterator[Rig]:
    """Start a swarm; `options` are given to each site's process by name, `command` replaces `swarm-node run`.

    `commands` and `configs` are for some sites only, by name: another program, and settings of their configuration,
    which may depend on the devnet. `process` is how sites are started, `chain` another chain than the devnet.
    `limits` are time limits of the study's rounds, in seconds, and how many rounds updates are retained.
    """
    spec = specification(rounds, min_sites, **limits)
    names = [f"site-{index + 1}" for index in range(sites)]
    programs = {name: (commands or {}).get(name, command) for name in names}
    with (
        chain(folder / "chain") as devnet,
        swarm_on(
            devnet.ipc,
            folder,
            spec,
            programs,
            configs=configs(devnet) if callable(configs) else configs,
            options=options,
            process=process,
        ) as rig,
    ):
        rig.devnet = devnet
        yield rig


@contextmanager
def swarm_on(
    chain: str,
    folder: Path,
    spec: StudySpec,
    programs: Mapping[str, Sequence[str] | None],
    *,
    configs: Mapping[str, Mapping[str, Any]] | None = None,
    options: Callable[[str], Sequence[str]] = lambda name: (),
    process: type[SiteProcess] = SiteProcess,
) -> Iterator[Rig]:
    """Start a swarm on a chain that is there; `programs` are the sites by name, with what replaces `swarm-node run`."""
    with ExitStack() as stack:
        plans = [
            SitePlan(name, source(index, len(programs)), (configs or {}).get(name))
            for index, name in enumerate(programs)
        ]
        scene = set_up(folder, chain, spec, plans)
        processes = [process(home.name, home, options(home.name)) for home in scene.homes]
        for one in processes:
            one.command = programs[one.name] or one.command
        cluster = stack.enter_context(Cluster(processes))
        ledger = Ledger(stack.enter_context(closing(connect(chain))), scene.deployment)
        watcher = Watcher(EventStream(ledger), scene.study)
        watcher.catch_up()
        yield Rig(scene, spec, cluster, watcher, ledger)
