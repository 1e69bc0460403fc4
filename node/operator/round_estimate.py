"""How long a round of a study would take: what can be measured here is, and what can't be known is said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import numpy as np
import trio

from ledger.state import StudyState
from ledger.types import Address
from node.operator import links
from node.operator.desk import Desk
from node.operator.links import Link
from node.study_folder import StudyFolder
from node.trainer import Trainer, hold_against
from swarm.folder_store import FolderStore
from swarm.manifest import layout_elements
from swarm.merge import merge_updates
from swarm.moments import merge_moments
from swarm.spec import StudySpec

TRAINING_PATIENCE = 60.0
BLOCKS = 20
TRANSACTIONS = 3
"""One after the other in a round: the last commit, the publication, the attestation that makes a quorum."""
ROUND_TRIPS = 3
"""That a small update takes: to ask for it, for its description and for its bytes."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a round: its seconds, None where they can't be known, and how they were found."""

    name: str
    seconds: float | None
    how: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """A round's parts; `late` names the limit of the study that this site alone would break."""

    parts: tuple[Part, ...]
    late: str | None = None

    @property
    def says(self) -> str:
        """All of it in a sentence."""
        known = sum(part.seconds for part in self.parts if part.seconds is not None)
        unknown = [part.name for part in self.parts if part.seconds is None]
        more = f", and {' and '.join(unknown)}, which can't be told" if unknown else ""
        parts = "; ".join(f"{part.name} {_seconds(part.seconds)} ({part.how})" for part in self.parts)
        return f"about {_seconds(known)} a round{more}, where the others are as quick: {parts}"


def _seconds(seconds: float | None) -> str:
    return "?" if seconds is None else f"{seconds:.2g} s" if seconds < 100 else f"{seconds:.0f} s"


def estimate(desk: Desk, study: StudyState, spec: StudySpec, reached: Sequence[Address]) -> Estimate:
    """Put the parts of a round together; raises WorkerError or StudyRefused where it can't be trained here."""
    rounds = {number: spent for number, spent in _timings(desk, study).items() if number > 0}
    if rounds:
        return _remembered(rounds)
    sites = max(len(study.sites), spec.round.min_sites, 2)
    training, merging, update = _train(desk, spec, sites)
    found = links.measure(desk, reached) if reached else {}
    late = None
    if training.seconds is not None and training.seconds > spec.round.collect_seconds:
        late = f"training takes longer than the study's {spec.round.collect_seconds} s for updates"
    return Estimate((training, _exchange(found, sites - 1, update), merging, _ledger(desk)), late)


def _timings(desk: Desk, study: StudyState) -> dict[int, dict[str, float]]:
    return StudyFolder(desk.folder.study(study.number)).timings()


def _remembered(rounds: Mapping[int, Mapping[str, float]]) -> Estimate:
    """What the rounds so far took at this site: no estimate is better."""
    how = f"mean of {len(rounds)} rounds at this site"
    names = ("training", "transfer", "merge", "verification", "ledger", "waiting")
    return Estimate(tuple(Part(name, fmean(spent.get(name, 0.0) for spent in rounds.values()), how) for name in names))


def _train(desk: Desk, spec: StudySpec, sites: int) -> tuple[Part, Part, int]:
    """Train a round here and merge as many updates as there are sites; gives both, and an update's bytes."""
    if spec.model.custom:
        size = layout_elements(spec.model.tensors) * np.dtype(spec.merge.dtype).itemsize
        says = "this site's own training loop trains; its first round will tell"
        return Part("training", None, says), Part("merging", None, "not measured before the first round"), size
    source = desk.config.data_at(desk.folder.home)
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "spec.json").write_bytes(spec.canonical())
        store = FolderStore(folder / "blobs", durable=False)
        trainer = Trainer(folder / "spec.json", source, folder / "blobs", desk.config.worker)
        training, update = trio.run(_train_once, spec, trainer, store)
        layout = store.manifest(spec.initial).tensors
        rule = spec.merge_rule(layout)
        size = layout_elements(layout) * np.dtype(rule.dtype).itemsize
        if update is None:
            return training, Part("merging", None, "the training did not come to an end"), size
        begin = monotonic()
        merge_updates(store, spec.initial, [(update, 1)] * sites, rule)
        return training, Part("merging", monotonic() - begin, f"{sites} updates, measured"), size


async def _train_once(spec: StudySpec, trainer: Trainer, store: FolderStore) -> tuple[Part, bytes | None]:
    done: dict[str, Any] = {}
    try:
        await hold_against(spec, trainer)
        moments = None
        if spec.data.standardise:
            own = bytes.fromhex((await trainer.request("moments"))["blob"])
            moments = merge_moments(store, [own]).blob.hex()
        begin = trio.current_time()
        with trio.move_on_after(TRAINING_PATIENCE):
            base = spec.initial.hex()
            reply = await trainer.request("train", progress=done.update, round=1, base=base, moments=moments)
            return Part("training", trio.current_time() - begin, "measured"), bytes.fromhex(reply["blob"])
    finally:
        await trainer.close()
    spent, step = trio.current_time() - begin, done.get("step", 0)
    if not step:
        return Part("training", None, f"more than {spent:.0f} s"), None
    return Part("training", spent * done["steps"] / step, f"after {step} of {done['steps']} steps"), None


def _exchange(found: Mapping[Address, Link], others: int, update: int) -> Part:
    amount = f"{others} updates of {update / 1000:,.1f} KB"
    if not found:
        return Part("exchange", None, f"{amount}; no other member could be asked")
    far = median(link.round_trip for link in found.values())
    speeds = [link.bytes_per_second for link in found.values() if link.bytes_per_second is not None]
    way = f"{far * 1000:.0f} ms there and back"
    if update < links.TELLING_BYTES:
        return Part("exchange", ROUND_TRIPS * far, f"{amount}, {way}, measured with {len(found)} members")
    if not speeds:
        return Part("exchange", None, f"{amount}, {way}; no member has a model yet to measure the speed with")
    speed = median(speeds)
    return Part("exchange", ROUND_TRIPS * far + others * update / speed, f"{amount}, {way}, {speed / 1e6:.1f} MB/s")


def _ledger(desk: Desk) -> Part:
    """What three transactions take, one after the other, as far as reading tells."""
    begin = monotonic()
    head = desk.ledger.head()
    call = monotonic() - begin
    if desk.config.dev:
        how = f"{TRANSACTIONS} transactions on a development chain, which mines each at once"
        return Part("ledger", TRANSACTIONS * call, how)
    before = desk.ledger.block(max(0, head.number - BLOCKS))
    if before.number == head.number:
        return Part("ledger", None, "the chain has no block yet")
    interval = (head.timestamp - before.timestamp) / (head.number - before.number)
    return Part("ledger", TRANSACTIONS * (interval + call), f"{TRANSACTIONS} blocks, of {interval:.1f} s each lately")
