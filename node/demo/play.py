"""Playing a scene to its end: the study watched, sites that die started again, and what each one found awaited."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from ledger.types import Phase, Status
from node.demo.cluster import Cluster, SiteProcess
from node.demo.display import Display
from node.demo.scene import Scene
from node.demo.watch import POLL_SECONDS, Watcher
from node.errors import DemoError
from node.site_folder import SiteFolder
from node.study_folder import StudyFolder

RESTART_SECONDS = 3.0
RESULT_SECONDS = 120.0


def follow(
    watcher: Watcher, cluster: Cluster, progress: Console, rounds: int, check: Callable[[], None] = lambda: None
) -> None:
    """Watch until the study has ended, starting sites again that died; `check` may raise what should end it."""
    died: dict[str, float] = {}
    started = time.monotonic()
    with Display(progress, watcher, rounds) as display:
        while not watcher.ended:
            check()
            watcher.poll(display.tell)
            for site in cluster.dead():
                if site.name not in died:
                    display.say(f"[red]{site.name}: its process ended[/red]")
                since = died.setdefault(site.name, time.monotonic())
                if time.monotonic() - since > RESTART_SECONDS and not _leads(watcher, site):
                    del died[site.name]
                    cluster.restart(site)
                    display.say(f"[yellow]{site.name}: started again[/yellow]")
            display.refresh(set(died))
            time.sleep(POLL_SECONDS)
    if watcher.watched.status is not Status.FINISHED:
        raise DemoError(f"study {watcher.study} was aborted")
    progress.print(
        f"finished: {len(watcher.watched.rounds)} rounds in {time.monotonic() - started:.0f} s", highlight=False
    )


def _leads(watcher: Watcher, site: SiteProcess) -> bool:
    """Whether the others wait for this site as their leader: it stays away until they have moved on, on record."""
    study = watcher.watched
    leader = study.round.leader if study.rounds and study.phase is Phase.MERGING else None
    return leader is not None and watcher.state.consortium.name_of(leader) == site.name


def await_results(scene: Scene, cluster: Cluster) -> None:
    """Wait until every site has the final model on its disk and has tested it on its own patients."""
    deadline = time.monotonic() + RESULT_SECONDS
    waiting = list(cluster.sites)
    while waiting:
        for site in cluster.dead():
            cluster.restart(site)
        waiting = [site for site in waiting if result_of(scene, site.home) is None]
        if waiting and time.monotonic() > deadline:
            site = waiting[0]
            raise DemoError(f"{site.name} has no final model yet; its log {site.log} ends with:\n{site.last_words()}")
        time.sleep(POLL_SECONDS)


def result_of(scene: Scene, home: Path) -> dict[str, Any] | None:
    """What came of the study at one site, once it knows."""
    return StudyFolder(SiteFolder(home).study(scene.study)).result()
