"""A study on a ledger that does what a test says, and the training process and sites to go with it."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import trio
from round_world import HELLO, give_model, give_update

from ledger.calls import Receipt
from ledger.deployment import Deployment
from ledger.errors import LedgerError
from ledger.events import (
    ConsortiumFounded,
    Event,
    LeaderElected,
    ModelPublished,
    OutputAttested,
    RoundFinalised,
    RoundOpened,
    RoundSealed,
    SiteAdmitted,
    StudyAccepted,
    StudyFinished,
    StudyProposed,
    StudyStarted,
    UpdateCommitted,
)
from ledger.state import ConsortiumState, LedgerState, StudyState
from ledger.types import ZERO_HASH, Address, Block, Commitment, Position, Terms
from node.claims import Claims
from node.errors import WorkerError
from node.network.memory import MemoryHub, MemoryNetwork
from node.reveals import RevealChain, chain_length
from node.rounds.runner import StudyRunner
from node.rounds.site_parts import SiteParts
from node.study_folder import StudyFolder
from node.tally import Tally
from node.trainer import Trainer
from swarm import studies
from swarm.memory_store import MemoryStore
from swarm.spec import StudySpec

T = TypeVar("T")

NAMES = ("ada", "bea", "cleo", "dora")
EVERYBODY = 0b1111
NOBODY = "0x" + "00" * 20


def specification(rounds: int = 5, retention_rounds: int = 1, **training: Any) -> StudySpec:
    """A study without statistics whose model has four numbers."""
    record = studies.draft("breast-cancer").model_dump(mode="json")
    record["data"]["standardise"] = False
    record["training"].update(rounds=rounds, **training)
    record["round"].update(
        min_sites=2,
        collect_seconds=600,
        grace_seconds=60,
        merge_seconds=60,
        review_seconds=100,
        retention_rounds=retention_rounds,
    )
    record["merge"].update(clip_norm=4.0, scale_bits=8, weight_cap=100)
    return StudySpec.model_validate(record).with_initial(give_model(MemoryStore(), [0.0, 0.0, 0.0, 0.0]))


def commitment(blob: bytes, reveal: bytes = ZERO_HASH) -> Commitment:
    return Commitment(blob, 1, 0, reveal, 1, bytes(32))


@dataclass
class ScriptedLedger:
    """Takes what the site under test sends; refuses it where the test gave a reason."""

    chain: "ScriptedChain"
    sent: list[tuple[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    refusals: dict[str, LedgerError | OSError] = field(default_factory=dict)

    @property
    def deployment(self) -> Deployment:
        return Deployment(1, bytes(32), NOBODY, NOBODY, 0)

    def accept(self, study: int, spec_hash: bytes, tip: bytes) -> Receipt:
        self._send("accept", tip)
        joined = {"site": "ada", "seat": 0, "spec_hash": spec_hash, "tip": tip, "from_round": 2}
        return self.chain.say(StudyAccepted, study, **joined)

    def commit(self, study: int, number: int, attempt: int, given: Commitment) -> Receipt:
        self._send("commit", given.blob)
        return self.chain.commit("ada", number, given, attempt)

    def attest(self, study: int, number: int, term: int, output: bytes) -> Receipt:
        self._send("attest", output)
        return self.chain.say(OutputAttested, round=number, site="ada", term=term, seat=0, output=output)

    def attest_and_commit(self, study: int, number: int, term: int, output: bytes, given: Commitment) -> Receipt:
        self._send("attest_and_commit", given.blob)
        self.chain.say(OutputAttested, round=number, site="ada", term=term, seat=0, output=output)
        return self.chain.commit("ada", number + 1, given)

    def seal(self, study: int, number: int, attempt: int) -> Receipt:
        self._send("seal", number)
        return self.chain.receipt()

    def rotate(self, study: int, number: int, term: int) -> Receipt:
        self._send("rotate", number)
        return self.chain.receipt()

    def publish(self, study: int, number: int, term: int, output: bytes, merged: int, reasons: bytes) -> Receipt:
        self._send("publish", (output, merged, reasons))
        return self.chain.publish("ada", number, output, merged, reasons, term)

    def reject(self, study: int, number: int, term: int, output: bytes, reason: int) -> Receipt:
        self._send("reject", reason)
        return self.chain.receipt()

    def _send(self, kind: str, what: Any) -> None:
        self.times.append(trio.current_time())
        if kind in self.refusals:
            raise self.refusals[kind]
        self.sent.append((kind, what))


class ScriptedChain:
    """What `node.chain.Chain` is to a runner, without a chain: time stands still until a test waits."""

    def __init__(self, spec: StudySpec, tip: bytes, sites: Sequence[Address]) -> None:
        self.ledger = ScriptedLedger(self)
        self.spec = spec
        self._state = LedgerState()
        self._changed = trio.Event()
        self._block = 0
        self.say(ConsortiumFounded, quorum_bps=6667, motion_seconds=60)
        for seat, name in enumerate(NAMES):
            self.say(SiteAdmitted, site=name, seat=seat, name=name)
        self.propose(1, spec, tip, sites)

    def propose(self, study: int, spec: StudySpec, tip: bytes, sites: Sequence[Address]) -> None:
        """Propose a study, have these sites accept it, start it and open its first round."""
        terms = Terms(**asdict(spec.terms()))
        self.say(
            StudyProposed,
            study,
            proposer="ada",
            spec_hash=spec.hash,
            terms=terms,
            accept_deadline=10**6,
            spec=spec.canonical(),
        )
        for name in sites:
            seat = NAMES.index(name)
            self.say(StudyAccepted, study, site=name, seat=seat, spec_hash=spec.hash, tip=tip, from_round=1)
        self.say(StudyStarted, study, participants=EVERYBODY, seed=bytes(32))
        self.say(RoundOpened, study, round=1, attempt=0, eligible=EVERYBODY, deadline=self.deadline(600))

    @property
    def tip(self) -> Block:
        return Block(7, bytes(32), 0)

    @property
    def consortium(self) -> ConsortiumState:
        return self._state.consortium

    @property
    def studies(self) -> Mapping[int, StudyState]:
        return self._state.studies

    def now(self) -> float:
        return trio.current_time() if self._in_trio() else 0.0

    def deadline(self, seconds: int) -> int:
        return int(self.now()) + seconds

    async def changed(self) -> None:
        await self._changed.wait()

    async def changed_or(self, until: float | None) -> None:
        with trio.move_on_at(float("inf") if until is None else until):
            await self.changed()

    async def submit(self, send: Callable[[], Receipt]) -> Receipt:
        await trio.lowlevel.checkpoint()
        return send()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Let the site go on until something holds."""
        while not reached():
            await trio.sleep(0.05)

    # -- what the ledger may say ---------------------------------------------------------------------------------

    def say(self, kind: type[Event], study: int = 1, **fields: Any) -> Receipt:
        """Put an event on the ledger."""
        self._block += 1
        at = Position(self._block, 0, bytes(32), bytes(32), int(self.now()))
        if "study" in kind.__dataclass_fields__:
            fields["study"] = study
        self._state = self._state.apply(kind(at=at, **fields))
        changed, self._changed = self._changed, trio.Event()
        changed.set()
        return self.receipt()

    def receipt(self) -> Receipt:
        return Receipt(bytes(32), self._block, 1, 1, "ada", ())

    def commit(self, site: str, number: int, given: Commitment, attempt: int = 0, study: int = 1) -> Receipt:
        return self.say(
            UpdateCommitted,
            study,
            round=number,
            site=site,
            attempt=attempt,
            seat=NAMES.index(site),
            commitment=given,
        )

    def seal(self, number: int, committed: int, leader: str) -> None:
        self.say(RoundSealed, round=number, attempt=0, committed=committed, seed=bytes(32))
        self.elect(number, leader, 0)

    def elect(self, number: int, leader: str, term: int) -> None:
        self.say(
            LeaderElected,
            round=number,
            leader=leader,
            term=term,
            seat=NAMES.index(leader),
            deadline=self.deadline(60),
        )

    def publish(
        self, leader: str, number: int, output: bytes, merged: int, reasons: bytes = b"", term: int = 0
    ) -> Receipt:
        return self.say(
            ModelPublished,
            round=number,
            leader=leader,
            term=term,
            output=output,
            merged=merged,
            reasons=reasons,
            deadline=self.deadline(100),
        )

    def finalise(self, number: int, output: bytes, merged: int) -> None:
        self.say(RoundFinalised, round=number, term=0, output=output, merged=merged, attested=merged)
        if number == self.spec.training.rounds:
            self.say(StudyFinished, output=output)
        else:
            deadline = self.deadline(600)
            self.say(RoundOpened, round=number + 1, attempt=0, eligible=EVERYBODY, deadline=deadline)

    def play_round(self, number: int, commits: Mapping[str, bytes], output: bytes) -> None:
        """A whole round in which other sites commit, merge and attest."""
        for name, blob in commits.items():
            self.commit(name, number, commitment(blob))
        merged = sum(1 << NAMES.index(name) for name in commits)
        self.seal(number, merged, next(iter(commits)))
        self.publish(next(iter(commits)), number, output, merged)
        self.finalise(number, output, merged)

    @staticmethod
    def _in_trio() -> bool:
        try:
            trio.lowlevel.current_task()
        except RuntimeError:
            return False
        return True


class ScriptedTrainer:
    """A training process that answers at once, takes its time, or fails, as the test says."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.asked: list[int] = []
        self.cancelled: list[int] = []
        self.seconds = 0.0
        self.answers: dict[int, Any] = {}

    def update_of(self, number: int) -> bytes:
        """The blob of the honest update of a round."""
        return give_update(MemoryStore(), [number, 0, 0, 1])

    async def request(self, op: str, **fields: Any) -> dict[str, Any]:
        number = fields["round"]
        self.asked.append(number)
        try:
            await trio.sleep(self.seconds)
        except trio.Cancelled:
            self.cancelled.append(number)
            raise
        answer = self.answers.get(number)
        if isinstance(answer, WorkerError):
            raise answer
        if answer is not None:
            return dict(answer)
        return {"blob": give_update(self._store, [number, 0, 0, 1]).hex(), "weight": 1}


class RunnerWorld:
    """The site `ada` in a study whose ledger and training process are scripted."""

    def __init__(self, folder: Path, spec: StudySpec | None = None, sites: Sequence[Address] = NAMES) -> None:
        self.spec = spec or specification()
        self.path = folder
        self.paused = False
        self.tally = Tally()
        self.store = MemoryStore()
        give_model(self.store, [0.0, 0.0, 0.0, 0.0])
        self.reveals = RevealChain(hashlib.sha256(b"ada").digest(), 1, NOBODY, 1, chain_length(5))
        self.chain = ScriptedChain(self.spec, self.reveals.tip, sites)
        self.trainer = ScriptedTrainer(self.store)
        self.claims = Claims(self.chain, "ada")  # type: ignore[arg-type]
        self.claims.enter(1, self.spec)
        hub = MemoryHub()
        self.network = MemoryNetwork(hub, "ada", self.store, HELLO, may_serve=lambda *_: True)
        self.network.set_members(dict.fromkeys(NAMES, ()))
        self.others = MemoryNetwork(hub, "bea", MemoryStore(), HELLO, may_serve=lambda *_: True)
        self.others.set_members(dict.fromkeys(NAMES, ()))
        hub.sites |= {"ada": self.network, "bea": self.others}

    @property
    def sent(self) -> list[tuple[str, Any]]:
        return self.chain.ledger.sent

    @property
    def theirs(self) -> MemoryStore:
        """The store of the other sites."""
        store = self.others.store
        assert isinstance(store, MemoryStore)
        return store

    def make(self) -> StudyRunner:
        """A runner as a node that has just started makes it."""
        chain: Any = self.chain
        site = SiteParts(
            "ada", chain, self.network, self.store, self.claims, is_paused=lambda: self.paused, tally=self.tally
        )
        trainer: Trainer = self.trainer  # type: ignore[assignment]
        return StudyRunner(site, 1, self.spec, StudyFolder(self.path), trainer, self.reveals)
