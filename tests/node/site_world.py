"""Sites that are ready to be started on one chain, and site processes with their log and their last word."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Any

import psutil

from ledger.devnet import Devnet
from node import config
from node.demo.scene import Scene, SitePlan, replace_fields, set_up
from node.files import write_atomically
from node.site_folder import SiteFolder
from swarm import studies
from swarm.spec import StudySpec

PATIENCE = 60.0
NAMES = ("ada", "bea", "cleo", "dora")
DATA = {"source": "breast-cancer", "shards": 4, "seed": 0}


def await_(reached: Callable[[], Any], what: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} s for {what}"
        time.sleep(0.02)


def make_scene(folder: Path, devnet: Devnet, spec: StudySpec | None = None) -> Scene:
    """Four members of a consortium with one proposed study, by default one that nobody can run."""
    spec = spec or studies.draft("breast-cancer").with_initial(bytes(32))
    plans = [SitePlan(name, {**DATA, "shard": shard}) for shard, name in enumerate(NAMES)]
    return set_up(folder, devnet.ipc, spec, plans)


def copy_site(scene: Scene, into: Path, number: int = 0, **settings: Any) -> Path:
    """A folder of one of the scene's sites for one test, with other settings; it accepts no study unless told to."""
    home = into / f"home-{number}"
    copytree(scene.homes[number], home)
    changed = replace_fields(config.load(home), {"accept": [], **settings})
    write_atomically(SiteFolder(home).config, config.render(changed))
    return home


@dataclass
class Process:
    """A running `swarm-node run --json`."""

    home: Path
    popen: "subprocess.Popen[bytes]"

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of one event."""
        lines = (self.home / "log").read_text().splitlines()
        records = [json.loads(line) for line in lines if line.startswith("{")]
        return [record for record in records if record.get("event") == name]

    def until(self, name: str) -> dict[str, Any]:
        """Wait for an event in the log; it must not end before."""
        await_(lambda: self.events(name) or self.popen.poll() is not None, name)
        assert self.events(name), (self.home / "log").read_text()
        return self.events(name)[0]

    def end(self, how: signal.Signals | None = None) -> tuple[int, dict[str, Any]]:
        """Send a signal, if any, and give the exit code and the envelope."""
        if how is not None:
            self.popen.send_signal(how)
        code = self.popen.wait(PATIENCE)
        said = (self.home / "out").read_text().splitlines()
        return code, json.loads(said[-1]) if said else {}

    def children(self) -> list[psutil.Process]:
        """The processes that it has started."""
        return psutil.Process(self.popen.pid).children(recursive=True)


@contextmanager
def running(home: Path) -> Iterator[Process]:
    """Start a site's process, and make sure that it is gone in the end."""
    command = [sys.executable, "-m", "node.cli", "run", "--home", str(home), "--json"]
    with (home / "log").open("wb") as log, (home / "out").open("wb") as out:
        popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=log, env=dict(os.environ))
    try:
        yield Process(home, popen)
    finally:
        popen.kill()
        popen.wait()
