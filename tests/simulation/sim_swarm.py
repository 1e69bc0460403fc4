"""A whole history: the swarm, its troubles, the judge of it, and what came of it."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import structlog
import trio
from sim_audit import Audit, require
from sim_chain import GENESIS_TIME, SimulatedChain, Transaction
from sim_schedule import Lie, Mishap, Schedule, Trouble
from sim_site import LIFE, LONGEST_TRAINING, STUDY, SimulatedSite, in_virtual_thread
from trio.testing import MockClock

from ledger.events import Event
from ledger.types import ZERO_HASH, Address, Status, Terms
from node.network.memory import MemoryHub, Misbehaviour
from node.rounds.decide import RANK_SECONDS
from node.rounds.runner import MAX_RETRY_SECONDS
from swarm import studies
from swarm.manifest import BlobKind, Layout, TensorShape
from swarm.memory_store import MemoryStore
from swarm.spec import StudySpec

NAMES = ("ada", "bea", "cleo", "dora", "elsa", "fay")
LAYOUT: Layout = (TensorShape("w", (4,)),)
WITHOUT_QUORUM_SECONDS = 90.0
TOLD_LINES = 300
LEDGER_SECONDS = 4.0
"""The longest that a call to the ledger takes, and what it did to be seen, where nothing is wrong."""
NETWORK_TROUBLES = {
    Trouble.UNREACHABLE: Misbehaviour.UNREACHABLE,
    Trouble.STALL: Misbehaviour.STALL,
    Trouble.CORRUPT: Misbehaviour.CORRUPT,
}


class LivenessViolation(AssertionError):
    """A quorum is up, nothing is wrong any more, and the study doesn't go on."""


@cache
def specification(rounds: int, min_sites: int, statistics: bool) -> StudySpec:
    """A study whose model has four numbers, with deadlines of seconds."""
    record = studies.draft("breast-cancer").model_dump(mode="json")
    record["data"]["standardise"] = statistics
    record["training"].update(rounds=rounds)
    record["round"].update(
        min_sites=min_sites,
        accept_seconds=10,
        collect_seconds=40,
        grace_seconds=6,
        merge_seconds=30,
        review_seconds=30,
        least_seconds=2,
        retention_rounds=1,
    )
    record["merge"].update(clip_norm=4.0, scale_bits=8, weight_cap=100)
    return StudySpec.model_validate(record).with_initial(give_initial(MemoryStore()))


def give_initial(store: MemoryStore) -> bytes:
    """The model that a study starts from."""
    return store.create(BlobKind.MODEL, "float32", LAYOUT, [np.zeros(4, "<f4").data]).blob


def longest(schedule: Schedule, spec: StudySpec) -> float:
    """Seconds within which a swarm with a quorum finishes once nothing is wrong any more.

    A round needs at most two attempts: the present one may hang on sites that are gone, and all terms of it may fail;
    in the next one only sites that are up can have committed, so that the first honest leader carries it. A later
    round's first attempt may be as bad, where a slow site missed it.
    """
    step = LEDGER_SECONDS + RANK_SECONDS * schedule.sites
    term = spec.round.merge_seconds + spec.round.review_seconds + 2 * step
    attempts = 2 * (spec.round.collect_seconds + LONGEST_TRAINING + step)
    # Every committer may lead once in vain in the first attempt, every liar in the second.
    one_round = attempts + (schedule.sites + len(schedule.liars) + 1) * term
    return 2 * MAX_RETRY_SECONDS + (schedule.rounds + schedule.statistics) * one_round


class SplitHub(MemoryHub):
    """A hub whose cable can be cut between the first sites and the others."""

    def __init__(self) -> None:
        super().__init__()
        self.cuts: Counter[int] = Counter()

    def reachable(self, one: Address, other: Address) -> bool:
        """As in `MemoryHub`, and on the same side of every cut."""
        first, second = NAMES.index(one), NAMES.index(other)
        together = all((first <= cut) == (second <= cut) for cut in +self.cuts)
        return together and super().reachable(one, other)


@dataclass
class Report:
    """What came of one schedule. `stranded`: who held the model that the round starts from is gone for good."""

    status: Status
    starts: int
    seconds: float
    stranded: bool
    lies: Counter[Lie]
    refused: int
    history: tuple[Event, ...]
    audit: Audit


@dataclass
class Swarm:
    """The sites of one schedule, their chain and their network."""

    schedule: Schedule
    path: Path
    lies_told: Counter[Lie] = field(default_factory=Counter)
    trace: list[tuple[float, str, str]] = field(default_factory=list)
    _active: Counter[tuple[Trouble, int]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        plan = self.schedule
        self.draw = random.Random(plan.seed)
        self.spec = specification(plan.rounds, plan.min_sites, plan.statistics)
        self.archive = MemoryStore()
        give_initial(self.archive)
        terms, rule = Terms(**asdict(self.spec.terms())), self.spec.merge_rule(LAYOUT)
        honest = frozenset(range(plan.sites)) - plan.liars
        self.audit = Audit(self.spec, terms, rule, honest, self.archive)
        self.chain = SimulatedChain(NAMES[: plan.sites], self.draw, self.audit.take)
        self.hub = SplitHub()
        self.sites = [self._site(seat) for seat in range(plan.sites)]
        self._begin_study(terms)

    def _site(self, seat: int) -> SimulatedSite:
        plan = self.schedule
        site = SimulatedSite(
            me=NAMES[seat],
            spec=self.spec,
            rule=self.audit.rule,
            chain=self.chain,
            hub=self.hub,
            archive=self.archive,
            path=self.path / NAMES[seat],
            draw=self.draw,
            base_of=self.audit.base_of,
            told=self._note_lie,
            lies=frozenset(lie for liar, lie in plan.lies if liar == seat),
            joins_at=self.draw.uniform(0, 20),
        )
        give_initial(site.store)
        return site

    def _note_lie(self, lie: Lie) -> None:
        self.lies_told[lie] += 1

    def _begin_study(self, terms: Terms) -> None:
        """Propose it, have everybody but the late sites accept it, and let it start when its deadline has passed."""
        proposed = GENESIS_TIME - terms.accept_seconds - 2
        self.chain.do(NAMES[0], proposed, "propose", self.spec.canonical(), terms)
        for site in self.sites[: len(self.sites) - self.schedule.late]:
            self.chain.do(site.me, proposed, "accept", STUDY, self.spec.hash, site.reveals.tip)
        if self.schedule.late:
            self.chain.do(NAMES[0], GENESIS_TIME - 1, "start", STUDY)

    # -- what happens to it ------------------------------------------------------------------------------------------

    async def suffer(self, mishap: Mishap) -> None:
        """One trouble, from its beginning to its end."""
        await trio.sleep_until(mishap.at)
        self._turn(mishap, 1)
        if mishap.lasts:
            return
        await trio.sleep(mishap.seconds)
        self._turn(mishap, -1)

    def _turn(self, mishap: Mishap, change: int) -> None:
        site = self.sites[mishap.site]
        match mishap.trouble:
            case Trouble.KILL if change > 0:
                site.kill()
            case Trouble.KILL:
                site.revive()
            case Trouble.CHAIN_OUT:
                site.way.closed += change
            case Trouble.CHAIN_LATE:
                site.way.late += change
            case Trouble.SPLIT:
                self.hub.cuts[mishap.site] += change
            case Trouble.DISK_FULL:
                site.store.full += change
            case Trouble.TRAINER_BROKEN:
                site.trainer.broken += change
            case Trouble.WITHDRAW:
                self.chain.submit(Transaction(site.me, "withdraw", (STUDY,)))
            case Trouble.LEAVE:
                self.chain.submit(Transaction(site.me, "leave", ()))
            case _:
                self._active[mishap.trouble, mishap.site] += change
                troubles = [kind for kind in NETWORK_TROUBLES if self._active[kind, mishap.site]]
                self.hub.misbehaviour.pop(site.me, None)
                if troubles:
                    self.hub.misbehaviour[site.me] = NETWORK_TROUBLES[troubles[0]]

    # -- what is asked of it -----------------------------------------------------------------------------------------

    async def run(self) -> Report:
        """Live through the schedule; raises SafetyViolation or LivenessViolation."""
        plan = self.schedule
        patience = longest(plan, self.spec) if plan.has_quorum else WITHOUT_QUORUM_SECONDS
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.chain.run)
            for site in self.sites:
                nursery.start_soon(site.run)
            for mishap in plan.mishaps:
                nursery.start_soon(self.suffer, mishap)
            try:
                with trio.move_on_at(plan.quiet_from + patience):
                    for seat in sorted(plan.reliable) or range(plan.sites):
                        await self.sites[seat].concluded.wait()
                report = self._report()
                self._check_liveness(report)
            finally:
                for site in self.sites:  # their threads outlive a mere cancellation
                    site.kill()
            nursery.cancel_scope.cancel()
        return report

    def _check_liveness(self, report: Report) -> None:
        plan = self.schedule
        done = all(self.sites[seat].concluded.is_set() for seat in plan.reliable)
        if plan.has_quorum and not report.stranded and not (done and report.status is Status.FINISHED):
            raise LivenessViolation(f"after {trio.current_time():.0f} s the study isn't over: {self._stand()}")
        pushers = [seat for seat in plan.reliable if self.sites[seat].is_up]
        if report.status is Status.RUNNING and pushers:
            over = self.chain.now() - self.chain.twin.view_study(STUDY).deadline
            if over > MAX_RETRY_SECONDS:
                raise LivenessViolation(
                    f"the deadline was {over} s ago, and nobody pushed the round on: {self._stand()}"
                )

    def _stand(self) -> str:
        waiting = [self.sites[seat].me for seat in self.schedule.reliable if not self.sites[seat].concluded.is_set()]
        return f"{self.chain.twin.view_study(STUDY)}; not done: {waiting}; leaders failed: {dict(self.audit.faults)}"

    def _report(self) -> Report:
        record = self.chain.twin.studies[STUDY]
        base = self.audit.base_of(record.round) or self.spec.initial
        last = list(self.audit.finals.values())[-1:] or [ZERO_HASH]
        require(record.last_final == last[0], "the contract's last final output is another than the one on record")
        holders = [site for site in self.sites if site.is_up and site.store.has(base)]
        return Report(
            status=record.status,
            starts=sum(site.starts for site in self.sites),
            seconds=trio.current_time(),
            stranded=not holders,
            lies=self.lies_told,
            refused=self.chain.refused,
            history=tuple(self.chain.events),
            audit=self.audit,
        )


def simulate(schedule: Schedule, path: Path) -> Report:
    """Run one schedule from its seed: the same schedule gives the same history."""
    # Both are private to trio; pytest-trio makes runs repeatable by the same two.
    with patch("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", True):
        trio._core._run._r.seed(schedule.seed)  # type: ignore[attr-defined]
        return trio.run(_simulate, schedule, path, clock=MockClock(autojump_threshold=0), strict_exception_groups=True)


async def _simulate(schedule: Schedule, path: Path) -> Report:
    swarm = Swarm(schedule, path)
    with patch.object(trio.to_thread, "run_sync", in_virtual_thread), _traced(swarm.trace):
        try:
            return await swarm.run()
        except Exception as error:  # noqa: BLE001 - raised again, with the history that led to it
            failure = error
            while isinstance(failure, ExceptionGroup):
                failure = failure.exceptions[0]
            failure.add_note("\n".join(f"{when:8.2f} {who:5} {what}" for when, who, what in swarm.trace[-TOLD_LINES:]))
            raise failure from None


@contextmanager
def _traced(trace: list[tuple[float, str, str]]) -> Iterator[None]:
    """Keep what sites log, with virtual time, for the report of a failure."""

    def note(_logger: Any, _method: str, event: Any) -> Any:
        site = LIFE.get(None)
        if event["event"] != "round_timing":
            trace.append((trio.current_time(), "" if site is None else site.me, str(dict(event))))
        raise structlog.DropEvent

    processors = structlog.get_config()["processors"]
    before = processors.copy()
    processors[:] = [note]
    try:
        yield
    finally:
        processors[:] = before
