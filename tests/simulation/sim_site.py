"""One simulated site: disk, trainer and lies; the node's own runner, chain, claims and folder; and its deaths."""

import errno
import hashlib
import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import trio
from sim_chain import SimulatedChain, SimulatedLedger, SimulatedStream, Way
from sim_lies import LyingLedger
from sim_schedule import Lie

from ledger.errors import LedgerError
from ledger.state import StudyState
from ledger.types import Address, Status
from node.chain import Chain
from node.claims import Claims
from node.errors import NodeError, WorkerError
from node.network.errors import NetworkError
from node.network.memory import MemoryHub, MemoryNetwork
from node.network.port import Hello
from node.participation import RETRY_SECONDS
from node.reveals import RevealChain, chain_length
from node.rounds.runner import StudyRunner
from node.rounds.site_parts import SiteParts
from node.study_folder import StudyFolder
from swarm.blobs import BlobStore
from swarm.errors import SwarmError
from swarm.manifest import BlobKind, Manifest
from swarm.memory_store import MemoryReceiver, MemoryStore
from swarm.merge import MergeRule
from swarm.moments import Moments, write_moments
from swarm.spec import StudySpec

STUDY = 1
HELLO = Hello(1, "0x" + "00" * 20, "swarm-node/simulation")
POLL_SECONDS = 0.25
LONGEST_THREAD = 0.05
LONGEST_TRAINING = 2.0

LIFE: ContextVar["SimulatedSite"] = ContextVar("LIFE")


async def in_virtual_thread(function: Callable[..., Any], *args: Any, **_options: Any) -> Any:
    """What stands in for `trio.to_thread.run_sync`: takes virtual time, and goes on when its caller is cancelled."""
    await trio.lowlevel.checkpoint_if_cancelled()
    site = LIFE.get()
    with site.thread():
        await trio.sleep(site.draw.uniform(0, LONGEST_THREAD))
        answer = function(*args)
        return await answer if inspect.isawaitable(answer) else answer
    # Only a power cut gets here: it ends the threads of a process with everything else.
    await trio.sleep_forever()
    return None


class FillingStore(MemoryStore):
    """A disk that may be full."""

    def __init__(self) -> None:
        super().__init__()
        self.full = 0

    def create(self, *args: Any, **options: Any) -> Manifest:
        self._check()
        return super().create(*args, **options)

    def receive(self, manifest: Manifest) -> MemoryReceiver:
        self._check()
        return super().receive(manifest)

    def _check(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")


class FakeTrainer:
    """A training process whose updates differ each time: a site that trains again has another blob."""

    def __init__(self, me: Address, spec: StudySpec, rule: MergeRule, stores: list[BlobStore], draw: random.Random):
        self._me = me
        self._spec = spec
        self._rule = rule
        self._stores = stores
        self._draw = draw
        self.broken = 0
        self.trainings = 0

    async def request(self, op: str, **fields: Any) -> dict[str, Any]:
        """Answer as the training process would, after a while."""
        if self.broken:  # at once, as one does whose data is gone
            raise WorkerError("the training process died")
        await trio.sleep(self._draw.uniform(0.1, LONGEST_TRAINING))
        self.trainings += 1
        digest = hashlib.sha256(f"{self._me} {op} {fields} {self.trainings}".encode()).digest()
        make = self._moments if op == "moments" else self._update
        made = [make(store, digest) for store in self._stores]
        return {"blob": made[0].hex(), "weight": 1 + digest[4] % 9}

    def _update(self, store: BlobStore, digest: bytes) -> bytes:
        values = np.frombuffer(digest[:4], "i1").astype("<i4")
        rule = self._rule
        return store.create(BlobKind.UPDATE, rule.dtype, rule.layout, [values.data], scale_bits=rule.scale_bits).blob

    def _moments(self, store: BlobStore, digest: bytes) -> bytes:
        columns = self._spec.data.columns
        return write_moments(store, Moments(1 + digest[0], (digest[1],) * columns, (digest[2] ** 2,) * columns)).blob


@dataclass
class SimulatedSite:
    """A site whose process may die and start again; `store`, `path` and its place on the ledger outlive it."""

    me: Address
    spec: StudySpec
    rule: MergeRule
    chain: SimulatedChain
    hub: MemoryHub
    archive: MemoryStore
    path: Path
    draw: random.Random
    base_of: Callable[[int], bytes | None]
    told: Callable[[Lie], None]
    lies: frozenset[Lie] = frozenset()
    joins_at: float = 0.0
    store: FillingStore = field(default_factory=FillingStore)
    starts: int = 0
    concluded: trio.Event = field(default_factory=trio.Event)
    _killers: int = 0
    _may_run: trio.Event = field(default_factory=trio.Event)
    _process: trio.CancelScope = field(default_factory=trio.CancelScope)
    _threads: set[trio.CancelScope] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.way = Way(self.draw)
        key = hashlib.sha256(self.me.encode()).digest()
        self.reveals = RevealChain(key, 1, HELLO.contract, STUDY, chain_length(self.spec.training.rounds))
        self.trainer = FakeTrainer(self.me, self.spec, self.rule, [self.store, self.archive], self.draw)
        self._may_run.set()

    @property
    def is_up(self) -> bool:
        return not self._killers

    @contextmanager
    def thread(self) -> Iterator[None]:
        """A thread of this process: nothing ends it but the end of the process."""
        with trio.CancelScope(shield=True) as scope:
            self._threads.add(scope)
            try:
                yield
            finally:
                self._threads.discard(scope)

    def kill(self) -> None:
        """Cut the power; the site stays down until it was revived as often as killed."""
        if self.is_up:
            self._may_run = trio.Event()
        self._killers += 1
        self._process.cancel()
        for scope in list(self._threads):
            scope.cancel()

    def revive(self) -> None:
        """Take one kill back."""
        self._killers -= 1
        if not self._killers:
            self._may_run.set()

    async def run(self) -> None:
        """Live, die and live again, for ever."""
        LIFE.set(self)
        while True:
            await self._may_run.wait()
            self.starts += 1
            with trio.CancelScope() as self._process:
                await self._live()

    async def _live(self) -> None:
        ledger = self._ledger()
        chain = Chain(ledger, SimulatedStream(self.chain, self.way), POLL_SECONDS)  # type: ignore[arg-type]
        claims = Claims(chain, self.me)
        network = MemoryNetwork(self.hub, self.me, self.store, HELLO, may_serve=partial(self._may_serve, claims))
        async with trio.open_nursery() as nursery:
            await self._start_following(chain, nursery)
            nursery.start_soon(self._follow_members, chain, network)
            await nursery.start(lambda task_status: network.run(task_status=task_status))
            await self._take_part(SiteParts(self.me, chain, network, self.store, claims))  # type: ignore[arg-type]
            await trio.sleep_forever()

    @staticmethod
    async def _follow_members(chain: Chain, network: MemoryNetwork) -> None:
        """As node.site does."""
        while True:
            network.set_members(dict.fromkeys(chain.consortium.members, ()))
            await chain.changed()

    async def _start_following(self, chain: Chain, nursery: trio.Nursery) -> None:
        """As a service manager does: where the chain can't be asked at the start, start again."""
        while True:
            try:
                await nursery.start(chain.follow)
            except LedgerError:
                await trio.sleep(RETRY_SECONDS)
            else:
                return

    async def _take_part(self, parts: SiteParts) -> None:
        """As node.participation does."""
        while True:
            try:
                if await self._join(parts.chain):
                    parts.claims.enter(STUDY, self.spec)
                    folder = StudyFolder(self.path)
                    trainer: Any = self.trainer
                    runner = StudyRunner(parts, STUDY, self.spec, folder, trainer, self.reveals)
                    await runner.run()
                    if runner.state.status is Status.FINISHED:
                        await runner.bring_outcome()
                self.concluded.set()
                return
            except (LedgerError, NetworkError, NodeError, SwarmError, OSError):
                await trio.sleep(RETRY_SECONDS)

    async def _join(self, chain: Chain) -> bool:
        """Accept the study unless that is done; False where it can't be joined any more."""
        while self._study(chain).status is Status.PROPOSED:
            await chain.changed()
        if self.me in self._study(chain).sites:
            return True
        await trio.sleep_until(self.joins_at)
        if self._study(chain).round.number >= self.spec.training.rounds:
            return False
        accept: Any = chain.ledger.accept
        await chain.submit(partial(accept, STUDY, self.spec.hash, self.reveals.tip))
        return True

    @staticmethod
    def _study(chain: Chain) -> StudyState:
        return chain.studies[STUDY]

    def _ledger(self) -> Any:
        if not self.lies:
            return SimulatedLedger(self.chain, self.me, self.way)
        parts = self.lies, self.store, self.rule, self.base_of, self.told
        return LyingLedger(self.chain, self.me, self.way, *parts)

    def _may_serve(self, claims: Claims, asker: Address, blob: bytes) -> bool:
        if Lie.WITHHOLD in self.lies and hash_parity(asker):
            self.told(Lie.WITHHOLD)
            return False
        return claims.may_serve(asker, blob)


def hash_parity(name: Address) -> bool:
    """Half of all sites, the same half in every process."""
    return bool(hashlib.sha256(name.encode()).digest()[0] & 1)
