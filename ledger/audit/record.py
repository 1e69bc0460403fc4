"""What an audit looks at: one study's history as an immutable value, wherever it was taken from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ledger import abi
from ledger.account import Transaction
from ledger.deployment import Deployment
from ledger.errors import EventInvalid, TransactionInvalid
from ledger.events import Event, RoundOpened, StudyEvent
from ledger.state import ConsortiumState, LedgerState, RoundState, StudyState
from ledger.types import Address, Block
from swarm.blobs import BlobStore
from swarm.errors import SpecificationError
from swarm.memory_store import MemoryStore
from swarm.spec import StudySpec


@dataclass(frozen=True, slots=True)
class SignedCall:
    """A transaction to one of the contracts that took effect: who signed it, and what function it calls with what."""

    tx: bytes
    sender: Address
    contract: str
    function: str
    arguments: Mapping[str, Any]


def read_call(raw: bytes, deployment: Deployment) -> SignedCall | None:
    """Read a signed transaction to one of the contracts, and recover its signer; None for any other transaction.

    Raises TransactionInvalid where it is to a contract of ours, and the signature or the call is malformed.
    """
    transaction = Transaction.from_raw(raw)
    names = {deployment.consortium: "Consortium", deployment.study: "Study"}
    if transaction.to is None or transaction.to not in names:
        return None
    if transaction.chain_id != deployment.chain_id:
        raise TransactionInvalid(f"it is signed for chain {transaction.chain_id}")
    contract = names[transaction.to]
    functions = abi.interface(contract).functions.values()
    shape = next((one for one in functions if one.selector == transaction.call[:4]), None)
    if shape is None:
        raise TransactionInvalid(f"it calls no function of {contract}")
    try:
        values = shape.inputs.decode(transaction.call[4:])
    except abi.MALFORMED as error:
        raise TransactionInvalid(f"its call of {shape.name} is malformed: {error}") from error
    arguments = dict(zip((item.name for item in shape.inputs.items), values, strict=True))
    return SignedCall(abi.keccak256(raw), transaction.sender, contract, shape.name, arguments)


@dataclass(frozen=True, slots=True)
class Step:
    """One event, the ledger just before it and just after it; `problem` says why it can't come there, if so."""

    event: Event
    before: LedgerState
    after: LedgerState
    problem: str | None = None


@dataclass(frozen=True)
class Record:
    """The history of a consortium as far as it matters to one study.

    `events` are all of both contracts, in the order of the chain. `blocks` are the blocks that are known, by number.
    `calls` are the signed transactions by hash, None where there are none at hand. `store` holds the blobs that are
    at hand. `model` is the hash of a model file that is to be judged, None where there is none. `unreadable` says of a
    transaction why it can't be read, by hash.
    """

    deployment: Deployment
    study: int
    events: tuple[Event, ...]
    blocks: Mapping[int, Block] = field(default_factory=dict)
    calls: Mapping[bytes, SignedCall] | None = None
    unreadable: Mapping[bytes, str] = field(default_factory=dict)
    store: BlobStore = field(default_factory=MemoryStore)
    model: bytes | None = None

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Every event with the ledger around it. An event that can't come where it stands changes nothing."""
        return tuple(self._fold())

    @cached_property
    def final(self) -> LedgerState:
        """The ledger after the last event."""
        return self.steps[-1].after if self.steps else LedgerState()

    @cached_property
    def subject(self) -> StudyState | None:
        """The study after the last event, with all of its rounds; None where nobody proposed it."""
        study = self.final.studies.get(self.study)
        return replace(study, rounds=tuple(self._rounds())) if study is not None else None

    @property
    def consortium(self) -> ConsortiumState:
        """The consortium after the last event."""
        return self.final.consortium

    @cached_property
    def spec(self) -> StudySpec | None:
        """The study's specification; None where this version can't read it."""
        subject = self.subject
        try:
            return StudySpec.from_json(subject.spec) if subject is not None else None
        except SpecificationError:
            return None

    @cached_property
    def own_steps(self) -> tuple[Step, ...]:
        """The steps of the study."""
        return tuple(step for step in self.steps if getattr(step.event, "study", None) == self.study)

    def name(self, site: Address) -> str:
        """The name of a site, present or former."""
        return self.consortium.name_of(site)

    def study_before(self, step: Step) -> StudyState | None:
        """The study just before a step."""
        return step.before.studies.get(self.study)

    def study_after(self, step: Step) -> StudyState | None:
        """The study just after a step."""
        return step.after.studies.get(self.study)

    def _fold(self) -> Iterator[Step]:
        state = LedgerState()
        for event in self.events:
            try:
                after = self._apply(state, event)
            except (EventInvalid, LookupError, ValueError) as error:
                yield Step(event, state, state, str(error).replace(f" at {event.at}", ""))
            else:
                yield Step(event, state, after)
                state = after

    def _apply(self, state: LedgerState, event: Event) -> LedgerState:
        """Give the ledger after one more event, with no other study than this one and of it no round but the present.

        A state of each event is kept: with all rounds in each of them a long study would not fit into memory.
        """
        if isinstance(event, StudyEvent) and event.study != self.study:
            if state.at is not None and event.at <= state.at:
                raise EventInvalid(f"{type(event).__name__} at {event.at} does not come after {state.at}")
            return replace(state, at=event.at)
        after = state.apply(event)
        study = after.studies.get(self.study)
        if study is None or len(study.rounds) < 2:
            return after
        return replace(after, studies={self.study: replace(study, rounds=study.rounds[-1:])})

    def _rounds(self) -> Iterator[RoundState]:
        """Every round as it was left."""
        for step in self.own_steps:
            before = self.study_before(step)
            if isinstance(step.event, RoundOpened) and step.problem is None and before is not None:
                yield from before.rounds
        last = self.final.studies.get(self.study)
        yield from last.rounds if last is not None else ()


def where(event: Event) -> dict[str, Any]:
    """Say of a finding what it is about, from an event."""
    found = {"block": event.at.block, "round": getattr(event, "round", None) if isinstance(event, StudyEvent) else None}
    site = next((getattr(event, name) for name in ("site", "leader", "proposer") if hasattr(event, name)), None)
    return {**found, "site": site}
