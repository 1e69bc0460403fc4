"""Whole histories for the explorer's tests: the contracts' own rules decide, in Python, on a chain in memory."""

import hashlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "simulation"))

from study_twin import StudyTwin
from twin_state import Consortium, Environment

from ledger.abi import checksum_address, keccak256
from ledger.calls import Calls
from ledger.deployment import Deployment
from ledger.events import ConsortiumFounded, Event, MotionClosed, MotionOpened, SiteAdmitted, SiteRemoved, VoteCast
from ledger.memory import MemoryChain, encode_log
from ledger.state import quorum
from ledger.types import Address, Commitment, MotionKind, MotionState, Phase, Position, Terms, seats_of
from swarm import studies
from swarm.merge import Exclusion
from swarm.spec import StudySpec

HOSPITALS = ("Lübeck", "Kiel", "Hamburg", "Rostock", "Bremen", "Aarhus", "Malmö", "Gdańsk")
BLOCK_SECONDS = 12
_NOWHERE = Position(0, 0, bytes(32), bytes(32), 0)


def address(text: str) -> Address:
    return checksum_address(hashlib.sha256(text.encode()).digest()[:20])


def digest(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


@dataclass
class Chain:
    """A site's hash chain, from its tip down."""

    links: list[bytes]
    used: int = 0

    @classmethod
    def of(cls, site: str, study: int, length: int) -> "Chain":
        links = [digest("chain", site, study)]
        while len(links) < length:
            links.append(keccak256(links[-1]))
        return cls(links[::-1])

    @property
    def tip(self) -> bytes:
        return self.links[0]

    def next(self) -> bytes:
        self.used += 1
        return self.links[self.used]


@dataclass
class Story:
    """A consortium of hospitals whose deeds a test tells, one by one; the chain is `rpc`, as a node would serve it."""

    names: Sequence[str] = HOSPITALS[:4]
    rpc: MemoryChain = field(default_factory=lambda: MemoryChain(block_seconds=BLOCK_SECONDS))
    chains: dict[tuple[int, Address], Chain] = field(default_factory=dict)
    spent: dict[tuple[int, Address], int] = field(default_factory=dict)
    motions: int = 0
    later: list[Address] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sites = tuple(map(address, self.names))
        self.twin = StudyTwin(1, address("study"), Consortium(self.sites))
        genesis = bytes.fromhex(self.rpc.call("eth_getBlockByNumber", "0x0", False)["hash"][2:])
        self.deployment = Deployment(1, genesis, address("consortium"), address("study"), 1)
        founded = [ConsortiumFounded(at=_NOWHERE, quorum_bps=6667, motion_seconds=604_800)]
        self.say(*founded, *(self._admitted(site) for site in self.sites))

    @property
    def ledger(self) -> Calls:
        return Calls(self.rpc, self.deployment)

    def _admitted(self, site: Address) -> SiteAdmitted:
        seat = self.sites.index(site)
        return SiteAdmitted(at=_NOWHERE, site=site, seat=seat, name=self.names[seat])

    def say(self, *events: Event) -> None:
        """Mine a block with these events."""
        contracts = {True: self.deployment.study, False: self.deployment.consortium}
        self.rpc.mine(*(encode_log(contracts[hasattr(event, "study")], event) for event in events))

    def wait(self, seconds: int) -> None:
        """Let empty blocks pass."""
        for _ in range(-(-seconds // BLOCK_SECONDS)):
            self.rpc.mine()

    def head(self) -> dict[str, Any]:
        return dict(self.rpc.call("eth_getBlockByNumber", "latest", False))

    def do(self, site: Address, function: str, *args: Any) -> None:
        """Have a site call a function of the contracts, in a block of its own."""
        now = int(self.head()["timestamp"], 16) + BLOCK_SECONDS
        emitted = self.twin.execute(Environment(site, now, self._blockhash), function, *args)
        self.say(*(kind(at=_NOWHERE, **fields) for kind, fields in emitted))

    def _blockhash(self, number: int) -> bytes | None:
        header = self.rpc.call("eth_getBlockByNumber", hex(number), False)
        return bytes.fromhex(header["hash"][2:]) if header is not None else None

    # -- the consortium ------------------------------------------------------------------------------------------

    def remove(self, site: Address, reason: str) -> None:
        """Have the members vote a site out."""
        self.motions += 1
        others = [one for one in self.sites if one != site and self.twin.consortium.is_member(one)]
        opened = MotionOpened(
            at=_NOWHERE,
            motion=self.motions,
            kind=MotionKind.REMOVE,
            subject=site,
            opener=others[0],
            text=reason,
            deadline=int(self.head()["timestamp"], 16) + 604_800,
        )
        self.say(opened)
        for voter in others[: quorum(len(others) + 1, 6667)]:
            self.say(VoteCast(at=_NOWHERE, motion=self.motions, voter=voter, approve=True))
        seat = self.sites.index(site)
        self.twin.consortium.vacate(seat)
        closed = MotionClosed(at=_NOWHERE, motion=self.motions, state=MotionState.PASSED)
        self.say(SiteRemoved(at=_NOWHERE, site=site, seat=seat, motion=self.motions), closed)

    # -- a study -------------------------------------------------------------------------------------------------

    def propose(self, rounds: int, *, epsilon: float = 0.0, accept: bool = True, **changes: Any) -> int:
        """Propose a study of some rounds, and have everybody accept it; gives its number."""
        return self.propose_spec(specification(rounds, **changes), epsilon=epsilon, accept=accept)

    def propose_spec(self, spec: StudySpec, *, epsilon: float = 0.0, accept: bool = True) -> int:
        """Propose a study by its specification; `epsilon` is a budget that only the contract knows of."""
        terms = Terms(**asdict(spec.terms()))
        if epsilon:
            terms = replace(terms, epsilon_budget=round(epsilon * 10**6))
        self.do(self.sites[0], "propose", spec.canonical(), terms)
        study = len(self.twin.studies)
        for name, site in zip(self.names, self.sites, strict=True):
            if accept and self.twin.consortium.is_member(site):
                self.accept(study, name, spec.training.rounds)
        return study

    def accept(self, study: int, name: str, rounds: int) -> None:
        site = address(name)
        chain = self.chains[(study, site)] = Chain.of(name, study, rounds + 40)
        self.do(site, "accept", study, self.twin.studies[study].spec_hash, chain.tip)

    def commit(self, study: int, site: Address, *, weight: int = 0, epsilon: float = 0.0) -> None:
        """Have a site commit an update for the present round."""
        record = self.twin.studies[study]
        self.do(site, "commit", study, record.round, record.attempt, self.commitment(study, site, weight, epsilon))

    def commitment(self, study: int, site: Address, weight: int = 0, epsilon: float = 0.0) -> Commitment:
        record, head = self.twin.studies[study], self.head()
        spent = self.spent[(study, site)] = self.spent.get((study, site), 0) + round(epsilon * 10**6)
        seat = self.sites.index(site)
        blob = digest("update", study, record.round, record.attempt, site)
        reveal = self.chains[(study, site)].next()
        seen = bytes.fromhex(head["hash"][2:])
        return Commitment(blob, weight or 60 + 11 * seat, spent, reveal, int(head["number"], 16), seen)

    def leader(self, study: int) -> Address:
        return self.sites[self.twin.studies[study].leader_seat]

    def publish(
        self,
        study: int,
        left_out: Iterable[Address] = (),
        reason: int = Exclusion.UNREACHABLE,
        output: bytes | None = None,
    ) -> bytes:
        """Have the leader publish; gives the output's hash."""
        record = self.twin.studies[study]
        out = [self.sites.index(site) for site in left_out]
        merged = record.committed & ~sum(1 << seat for seat in out)
        output = output or digest("output", study, record.round, record.attempt, record.term)
        reasons = bytes([reason] * len(out))
        self.do(self.leader(study), "publish", study, record.round, record.term, output, merged, reasons)
        return output

    def attest(self, study: int) -> None:
        """Have sites attest until the output is final."""
        record = self.twin.studies[study]
        at = (record.round, record.term, record.output)
        for seat in seats_of(record.committed):
            present = self.twin.studies[study]
            if (present.round, present.term) != at[:2] or present.phase is not Phase.REVIEWING:
                return
            if not present.attested >> seat & 1:
                self.do(self.sites[seat], "attest", study, *at)

    def fail_leader(self, study: int) -> Address:
        """Let the leader's time pass, and have another site say so; gives the leader that failed."""
        record = self.twin.studies[study]
        failed = self.leader(study)
        self.wait(record.deadline - int(self.head()["timestamp"], 16))
        other = next(site for site in self.sites if site != failed and self.twin.consortium.is_member(site))
        self.do(other, "rotate", study, record.round, record.term)
        return failed

    def reject_leader(self, study: int, reason: int = 1) -> Address:
        """Have the leader publish, and the others reject it; gives the leader that was rejected."""
        record = self.twin.studies[study]
        lying, number, term = self.leader(study), record.round, record.term
        output = self.publish(study)
        for seat in seats_of(record.committed):
            present = self.twin.studies[study]
            if self.sites[seat] != lying and present.term == term and present.phase is Phase.REVIEWING:
                self.do(self.sites[seat], "reject", study, number, term, output, reason)
        return lying

    def play_round(self, study: int, *, absent: Iterable[Address] = (), epsilon: float = 0.0, **published: Any) -> None:
        """Play the present round to its end."""
        record = self.twin.studies[study]
        gone = set(absent)
        for seat in seats_of(self.twin.active(record)):
            if self.sites[seat] not in gone:
                self.commit(study, self.sites[seat], epsilon=epsilon)
        record = self.twin.studies[study]
        if record.phase is Phase.COLLECTING:
            self.wait(record.sealable_at - int(self.head()["timestamp"], 16))
            caller = next(site for site in self.sites if site not in gone)
            self.do(caller, "seal", study, record.round, record.attempt)
        self.publish(study, **published)
        self.attest(study)


def specification(rounds: int, **changes: Any) -> StudySpec:
    record = studies.draft("breast-cancer").model_dump(mode="json")
    record["training"]["rounds"] = rounds
    limits = {"min_sites": 2, "collect_seconds": 600, "grace_seconds": 120, "merge_seconds": 120, "review_seconds": 120}
    record["round"].update(limits)
    record["data"]["standardise"] = False
    for section, values in changes.items():
        record[section].update(values)
    return StudySpec.model_validate(record).with_initial(digest("initial"))


def troubled_study(story: Story, rounds: int = 12, *, epsilon: float = 0.0) -> int:
    """A study with what happens in practice: dead and lying leaders, sites that are away or left out."""
    each = epsilon / (rounds + 4) if epsilon else 0.0
    study = story.propose(rounds, epsilon=epsilon)
    for number in range(1, rounds + 1):
        sites = [site for site in story.sites if story.twin.consortium.is_member(site)]
        if number % 7 == 3:
            for site in sites:
                story.commit(study, site, epsilon=each)
            story.fail_leader(study)
            story.publish(study)
            story.attest(study)
        elif number % 11 == 6:
            for site in sites:
                story.commit(study, site, epsilon=each)
            story.reject_leader(study)
            story.publish(study)
            story.attest(study)
        elif number % 5 == 4:
            story.play_round(study, absent=[sites[number % len(sites)]], epsilon=each)
        elif number % 9 == 5:
            for site in sites:
                story.commit(study, site, epsilon=each)
            leader = story.leader(study)
            out = next(site for site in sites if site != leader)
            story.publish(study, [out], Exclusion.OVER_CLIP if number % 2 else Exclusion.UNREACHABLE)
            story.attest(study)
        else:
            story.play_round(study, epsilon=each)
    return study
