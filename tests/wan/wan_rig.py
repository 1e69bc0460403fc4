"""A swarm whose sites are far apart: each in a machine of a lab, the chain in another."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.types import Phase, seats_of
from node.site_folder import SiteFolder
from swarm.memory_store import MemoryStore
from swarm.models import write_initial
from swarm.spec import StudySpec
from tests.faults.swarm_rig import Rig, specification, swarm_on
from tests.wan.lab import CHAIN, CHAIN_URL, Lab

PORT = 4001
RUN = (sys.executable, "-m", "node.cli", "run")
LOOK = (sys.executable, "-m", "node.cli")
POLL_SECONDS = 0.25  # as an operator's site has it, who sets nothing


@dataclass
class FarRig:
    """A running swarm in its lab."""

    lab: Lab
    rig: Rig

    def says(self, site: str, command: str) -> dict[str, Any]:
        """What `swarm-node COMMAND --json` answers at a site; the envelope."""
        home = str(self.rig.site(site).home)
        done = self.lab.machines[site].run(*LOOK, command, "--home", home, "--json", check=False)
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    def waits_for(self, site: str) -> str:
        """What `swarm-node status` says at a site that the study waits for."""
        answer = self.says(site, "status")
        assert answer["status"] == "ok", answer
        sentence: str = answer["data"]["studies"][0]["waits_for"]
        return sentence

    def log(self, site: str) -> list[dict[str, Any]]:
        """What a site has logged so far."""
        lines = self.rig.site(site).log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    @property
    def names(self) -> list[str]:
        """The sites."""
        return [site.name for site in self.rig.cluster.sites]

    def until(self, reached: Callable[[], bool], what: str) -> None:
        """Follow the ledger until a condition holds, which it must before the study ends."""
        self.rig.until(lambda: reached() or self.rig.watcher.ended, what)
        assert reached(), f"the study has ended, before {what}"

    def until_final(self, number: int) -> None:
        """Follow the ledger until a round is final."""
        self.until(
            lambda: any(one.number == number and one.final is not None for one in self.rig.study.rounds),
            f"round {number} to be final",
        )

    def cut_in_two(self) -> tuple[list[str], list[str]]:
        """Cut two sites that a round waits for off from the two others and the chain; gives both halves."""
        while True:
            self.until(lambda: len(self._awaited()) >= 2, "a round that waits for two sites")
            far = self._awaited()[:2]
            near = [name for name in self.names if name not in far]
            self.lab.cut(*near, CHAIN, off=far)
            self.rig.watcher.poll(self.rig.events.append)
            if set(far) <= set(self._awaited()):
                return near, far
            self.lab.heal()  # a commit was quicker; the next round will do

    def inputs_for(self, site: str) -> list[bytes]:
        """The updates that a site needs from the others in the present round, as far as they are committed."""
        commits = self.rig.study.round.commits
        return [one.commitment.blob for seat, one in commits.items() if self.rig.name_of(seat) != site]

    def kept(self, site: str, blobs: Iterable[bytes]) -> int:
        """How many bytes of these blobs are on a site's disk: whole chunks, each verified before it was written."""
        folder = SiteFolder(self.rig.site(site).home).blobs
        files = [folder / name / "data" for blob in blobs for name in (blob.hex(), f".part-{blob.hex()}")]
        return sum(512 * file.stat().st_blocks for file in files if file.exists())

    def stalled_on(self, site: str) -> set[str]:
        """The sites that one has noticed to be silent in the middle of an answer."""
        faults = [line for line in self.log(site) if line["event"] == "peer_fault" and line["kind"] == "stalled"]
        return {self.rig.watcher.state.consortium.name_of(line["peer"]) for line in faults}

    def addresses_of(self, site: str) -> str:
        """Where the ledger says that a site can be dialled."""
        consortium = self.rig.watcher.state.consortium
        return " ".join(next(one.addresses for one in consortium.members.values() if one.name == site))

    def _awaited(self) -> list[str]:
        """The sites that the round, where it collects, has no update of."""
        study = self.rig.study
        if study.phase is not Phase.COLLECTING:
            return []
        return [self.rig.name_of(seat) for seat in seats_of(study.eligible & ~study.round.committed)]


def specified(rounds: int, min_sites: int, hidden: list[int] | None = None, **limits: int) -> StudySpec:
    """The breast-cancer study, with a network of another size."""
    spec = specification(rounds, min_sites, **limits)
    if hidden is None:
        return spec
    record = spec.model_dump(mode="json")
    record["model"].update(parameters={"hidden": hidden}, initial="")
    draft = StudySpec.model_validate(record)
    return draft.with_initial(write_initial(draft, MemoryStore()).blob)


@contextmanager
def far_swarm(lab: Lab, folder: Path, spec: StudySpec) -> Iterator[FarRig]:
    """Start a site on each machine of a lab, and a chain on its own; the study is proposed."""
    sites = {name: machine for name, machine in lab.machines.items() if machine is not lab.chain}
    settings = {"rpc": CHAIN_URL, "listen": f"/ip4/0.0.0.0/tcp/{PORT}", "poll_seconds": POLL_SECONDS}
    chain = lab.start_chain(folder / "chain")
    with swarm_on(
        f"ipc://{chain}",
        folder,
        spec,
        {name: machine.command(*RUN) for name, machine in sites.items()},
        configs=dict.fromkeys(sites, settings),
    ) as rig:
        yield FarRig(lab, rig)
