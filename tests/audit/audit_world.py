"""One study on a real devnet by the hands of a test: four sites and a joiner, every kind of event, real blobs."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from ledger.abi import keccak256
from ledger.account import Account
from ledger.client import Ledger
from ledger.deployment import Deployment, deploy
from ledger.devnet import Devnet
from ledger.events import Event
from ledger.state import LedgerState, StudyState
from ledger.stream import EventStream
from ledger.types import Address, Commitment, Founder, Terms
from swarm import studies
from swarm.manifest import BlobKind, Layout, TensorShape
from swarm.memory_store import MemoryStore
from swarm.merge import Exclusion, Objection, merge_updates
from swarm.moments import Moments, merge_moments, write_moments
from swarm.spec import StudySpec

LAYOUT: Layout = (TensorShape("bias", (4,)), TensorShape("weight", (4, 16)))
ELEMENTS = 68
ROUNDS = 3
CHAIN = 64
NAMES = ("Kiel", "Lübeck", "Jena", "Bonn")
JOINER = "Ulm"


def specification(store: MemoryStore, **privacy: Any) -> StudySpec:
    """A study with a round of statistics, whose model has 68 numbers."""
    initial = store.create(BlobKind.MODEL, "float32", LAYOUT, [np.zeros(ELEMENTS, "<f4").data]).blob
    record = studies.draft("breast-cancer").model_dump(mode="json")
    record["training"].update(rounds=ROUNDS)
    record["round"].update(min_sites=2, collect_seconds=60, grace_seconds=10, merge_seconds=30, review_seconds=30)
    record["merge"].update(clip_norm=8.0, scale_bits=16, weight_cap=100)
    record["privacy"].update(privacy)
    return StudySpec.model_validate(record).with_initial(initial)


@dataclass
class Site:
    """A site: its client, its hash chain from the tip down, and how much of it is revealed."""

    name: str
    ledger: Ledger
    links: list[bytes]
    revealed: int = 0

    @property
    def address(self) -> Address:
        account = self.ledger.account
        assert account is not None
        return account.address


def hash_chain(name: str) -> list[bytes]:
    links = [hashlib.sha256(f"chain of {name}".encode()).digest()]
    while len(links) < CHAIN:
        links.append(keccak256(links[-1]))
    return links[::-1]


def account(name: str) -> Account:
    return Account(hashlib.sha256(f"account of {name}".encode()).digest())


@dataclass
class World:
    """The consortium while its study is made."""

    devnet: Devnet
    deployment: Deployment
    sites: dict[str, Site]
    store: MemoryStore
    spec: StudySpec
    study: int = 0
    drawn: int = 0
    kept: list[Event] = field(default_factory=list)

    @property
    def reader(self) -> Ledger:
        return self.sites[NAMES[0]].ledger

    def state(self) -> LedgerState:
        return LedgerState().fold(EventStream(self.reader).poll())

    def view(self) -> StudyState:
        return self.state().studies[self.study]

    def named(self, address: Address) -> Site:
        return next(site for site in self.sites.values() if site.address == address)

    def leader(self) -> Site:
        return self.named(self.view().round.leader or "")

    # -- what sites do ---------------------------------------------------------------------------------------------

    def update(self, *, scale: float = 1.0) -> bytes:
        """An update that nobody else has."""
        self.drawn += 1
        values = np.random.default_rng(self.drawn).normal(size=ELEMENTS) * 2**15 * scale
        rule = self.spec.merge_rule(LAYOUT)
        chunk = values.astype("<i4").data
        return self.store.create(BlobKind.UPDATE, rule.dtype, LAYOUT, [chunk], scale_bits=rule.scale_bits).blob

    def moments(self, count: int) -> bytes:
        columns = self.spec.data.columns
        return write_moments(self.store, Moments(count, (count << 60,) * columns, (count << 61,) * columns)).blob

    def commitment(self, site: Site, blob: bytes, *, weight: int = 10) -> Commitment:
        head = site.ledger.head()
        site.revealed += 1
        return Commitment(blob, weight, 0, site.links[site.revealed], head.number, head.hash)

    def commit(self, name: str, number: int, blob: bytes, *, attempt: int = 0, weight: int = 10) -> None:
        site = self.sites[name]
        site.ledger.commit(self.study, number, attempt, self.commitment(site, blob, weight=weight))

    def merged(self, seats: int) -> bytes:
        """The output of the present round's inputs on these seats."""
        study = self.view()
        commits = [commit.commitment for seat, commit in sorted(study.round.commits.items()) if seats >> seat & 1]
        if study.round.number == 0:
            return merge_moments(self.store, [commit.blob for commit in commits]).blob
        base = self.spec.initial if study.round.number == 1 else study.last_final
        weighted = [(commit.blob, commit.weight) for commit in commits]
        return merge_updates(self.store, base, weighted, self.spec.merge_rule(LAYOUT)).blob

    def publish(
        self, *, without: Sequence[int] = (), reason: Exclusion = Exclusion.UNREACHABLE, lie: bool = False
    ) -> bytes:
        present = self.view().round
        seats = present.committed & ~sum(1 << seat for seat in without)
        output = hashlib.sha256(b"a lie").digest() if lie else self.merged(seats)
        term = present.term
        assert term is not None
        left_out = (present.committed & ~seats).bit_count()
        self.leader().ledger.publish(self.study, present.number, term.number, output, seats, bytes([reason]) * left_out)
        return output

    def review(self, output: bytes, *, objection: Objection | None = None) -> None:
        """Have every committer vote until the review is decided."""
        present = self.view().round
        for seat in sorted(present.commits):
            now = self.view()
            if now.round.number != present.number or now.round.term != self.view().round.term:
                return
            term = now.round.term
            if term is None or term.publication is None or seat in term.attested or seat in term.rejected:
                continue
            site = self.named(now.participant_at(seat).account)
            where = self.study, present.number, term.number, output
            if objection is None:
                site.ledger.attest(*where)
            else:
                site.ledger.reject(*where, int(objection))

    def play(self, number: int, names: Sequence[str], **publish: Any) -> None:
        """One round in which nothing goes wrong but what is asked for."""
        for at, name in enumerate(names):
            blob = self.moments(20 + at) if number == 0 else self.update()
            if name not in {self.named(commit.site).name for commit in self.view().round.commits.values()}:
                self.commit(name, number, blob, weight=10 + at)
        self.review(self.publish(**publish))


def found(devnet: Devnet, store: MemoryStore) -> World:
    """Found a consortium of four and propose the study."""
    accounts = {name: account(name) for name in (*NAMES, JOINER)}
    rpc = devnet.rpc()
    founders = [Founder(accounts[name].address, name) for name in NAMES]
    deployment = deploy(rpc, accounts[NAMES[0]], founders, 6667, 600)
    sites = {name: Site(name, Ledger(rpc, deployment, one), hash_chain(name)) for name, one in accounts.items()}
    return World(devnet, deployment, sites, store, specification(store))


def play_study(devnet: Devnet) -> World:
    """Make the history: statistics, a joiner by vote, a silent leader, a rejected lie, an input over the clip bound."""
    world = found(devnet, MemoryStore())
    first = world.sites[NAMES[0]].ledger
    world.study, _ = first.propose(world.spec.canonical(), Terms(**asdict(world.spec.terms())))
    for name in NAMES:
        site = world.sites[name]
        site.ledger.accept(world.study, world.spec.hash, site.links[0])
    world.play(0, NAMES)
    _join(world)
    _first_round(world)
    _second_round(world)
    _third_round(world)
    return world


def _join(world: World) -> None:
    joiner = world.sites[JOINER]
    motion, _ = joiner.ledger.request_membership(JOINER)
    for name in NAMES[:3]:
        world.sites[name].ledger.vote(motion, True)
    joiner.ledger.accept(world.study, world.spec.hash, joiner.links[0])


def _first_round(world: World) -> None:
    """The first leader says nothing until its time is over."""
    for at, name in enumerate(NAMES):
        world.commit(name, 1, world.update(), weight=20 + at)
    term = world.view().round.term
    assert term is not None
    world.devnet.advance(31)
    world.reader.rotate(world.study, 1, term.number)
    output = world.publish()
    committer = next(name for name in NAMES if name != world.leader().name)
    site = world.sites[committer]
    ahead = world.commitment(site, world.update())
    term = world.view().round.term
    assert term is not None
    site.ledger.attest_and_commit(world.study, 1, term.number, output, ahead)
    world.review(output)


def _second_round(world: World) -> None:
    """One input is over the clip bound; the first output is a lie, which is rejected."""
    present = world.view().round
    ahead = {world.named(commit.site).name for commit in present.commits.values()}
    names = [name for name in (*NAMES, JOINER) if name not in ahead]
    huge = world.sites[names[0]]
    for name in names:
        world.commit(name, 2, world.update(scale=40.0) if name == huge.name else world.update())
    seat = next(one.seat for one in world.view().sites.values() if one.account == huge.address)
    world.review(world.publish(lie=True), objection=Objection.WRONG_OUTPUT)
    world.review(world.publish(without=[seat], reason=Exclusion.OVER_CLIP))


def _third_round(world: World) -> None:
    """One site withdraws, one doesn't come: the round is sealed when the grace time is over."""
    gone, absent = world.sites[NAMES[1]], NAMES[2]
    gone.ledger.withdraw(world.study)
    for name in (NAMES[0], NAMES[3], JOINER):
        world.commit(name, 3, world.update())
    assert absent not in world.sites[NAMES[0]].name
    world.devnet.advance(61)
    world.reader.seal(world.study, 3, 0)
    world.review(world.publish())


def replaced(event: Event, **fields: Any) -> Event:
    return replace(event, **fields)
