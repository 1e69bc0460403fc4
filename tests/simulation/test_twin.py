"""The contracts' twin against the contracts: the same calls, the same outcome, the same state after each of them."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

import pytest
from study_twin import CALLS, StudyTwin
from twin_state import Consortium, Emitted, Environment

from ledger.devnet import Devnet
from ledger.errors import ContractError
from ledger.events import Event
from ledger.types import Block, Commitment, Phase, Status, Terms, seats_of
from tests.ledger.ledger_world import SPEC, SPEC_HASH, TERMS, Site, World, found, hash_chain

STUDY = 1
HISTORIES = 25
STEPS = 50
KINDS_OF_REFUSALS = 20
OUTPUT, OTHER = b"\x0a" * 32, b"\x0b" * 32
SENSIBLE = {
    Phase.IDLE: ["accept", "decline", "start", "lapse"],
    Phase.COLLECTING: ["commit"],
    Phase.MERGING: ["publish"],
    Phase.REVIEWING: ["attest"] * 3 + ["attest_and_commit"] * 3 + ["reject"] * 2,
}
LATE = {Phase.IDLE: "start", Phase.COLLECTING: "seal", Phase.MERGING: "rotate", Phase.REVIEWING: "rotate"}
ROUND_CALLS = ("commit", "publish", "attest", "attest_and_commit", "reject", "rotate", "seal")
RARE_CALLS = ("withdraw", "leave", "accept", "vote_abort", "lapse", "start", "decline")

Outcome = list[Emitted] | tuple[type[ContractError], tuple[Any, ...]]


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    with Devnet.start(tmp_path_factory.mktemp("devnet")) as running:
        yield running


def _without_place(event: Event) -> Emitted:
    values = {item.name: getattr(event, item.name) for item in fields(event) if item.name != "at"}
    return Emitted(type(event), values)


@dataclass
class Pair:
    """The contracts on a devnet and their twin, driven by one random history."""

    world: World
    draw: random.Random
    twin: StudyTwin = field(init=False)
    head: Block = field(init=False)
    outcomes: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        deployment = self.world.deployment
        members = Consortium(tuple(self.world.ledger.members().values()))
        self.twin = StudyTwin(deployment.chain_id, deployment.study, members)

    def call(self, site: Site, function: str, *args: Any) -> bool:
        """Do the same at both and compare what comes of it; say whether it worked."""
        ledger = site.ledger
        assert ledger.account is not None
        real: Outcome
        try:
            answer = getattr(ledger, function)(*args)
            receipt = answer[1] if isinstance(answer, tuple) else answer
            real = [_without_place(event) for event in receipt.events]
        except ContractError as error:
            real = type(error), error.values
        self.head = ledger.head()
        here = Environment(ledger.account.address, self.head.timestamp, self._blockhash)
        told: Outcome
        try:
            told = self.twin.execute(here, function, *args)
        except ContractError as error:
            told = type(error), error.values
        assert told == real, (function, args)
        self.outcomes.update([function] if isinstance(real, list) else [real[0].__name__])
        self._compare_states()
        return isinstance(real, list)

    def step(self) -> None:
        """One call that could come next, more often one that makes sense than one that doesn't."""
        draw, view = self.draw, self.world.ledger.view_study(STUDY)
        site = draw.choice(self.world.sites)
        match draw.choices(["sensible", "in a round", "rare", "late"], [60, 15, 4, 12])[0]:
            case "sensible":
                function = draw.choice(SENSIBLE[view.phase])
                heard = view.committed if view.phase is Phase.COLLECTING else view.attested | view.rejected
                waited_for = view.eligible & ~heard
                site = self.world.sites[draw.choice(list(seats_of(waited_for or 1)))]
            case "in a round":
                function = draw.choice(ROUND_CALLS)
            case "rare":
                function = draw.choice(RARE_CALLS)
            case _:
                self.world.devnet.advance(draw.choice([1, 9, 11, 31, 61]))
                function = LATE[view.phase]
        if function == "publish" and draw.random() < 0.9:
            site = self.world.sites[view.leader_seat]
        self.do(site, function)

    def do(self, site: Site, function: str) -> None:
        """Make a call, and keep the site's place on its hash chain."""
        links = site.links, site.revealed
        if function == "accept":
            site.links, site.revealed = hash_chain(), 0
        worked = self.call(site, function, *self._arguments(site, function))
        if function == "accept" and not worked:
            site.links, site.revealed = links
        site.revealed += worked and function in ("commit", "attest_and_commit")

    def _arguments(self, site: Site, function: str) -> tuple[Any, ...]:
        draw, view = self.draw, self.world.ledger.view_study(STUDY)
        number, attempt, term = (
            max(0, value + draw.choices([0, 1, -1], [40, 1, 1])[0]) for value in (view.round, view.attempt, view.term)
        )
        output = draw.choices([view.output, OTHER], [9, 1])[0]
        spec_hash = draw.choices([SPEC_HASH, OTHER], [9, 1])[0]
        match function:
            case "commit":
                return STUDY, number, attempt, self._commitment(site)
            case "publish":
                left_out = view.committed & draw.choice([0, 0, 0, 1, 2, 4, 8])
                merged = view.committed & ~left_out | draw.choices([0, 1 << 7], [19, 1])[0]
                reasons = bytes([1] * (left_out.bit_count() + draw.choices([0, 1], [19, 1])[0]))
                return STUDY, number, term, draw.choices([OUTPUT, bytes(32)], [19, 1])[0], merged, reasons
            case "attest":
                return STUDY, number, term, output
            case "attest_and_commit":
                return STUDY, number, term, output, self._commitment(site)
            case "reject":
                return STUDY, number, term, output, draw.randrange(256)
            case "rotate":
                return STUDY, number, term
            case "seal":
                return STUDY, number, attempt
            case "accept":
                return STUDY, spec_hash, site.links[0]
            case "decline":
                return STUDY, spec_hash
            case "leave":
                return ()
            case _:
                return (draw.choices([STUDY, STUDY + 1], [9, 1])[0],)

    def _commitment(self, site: Site) -> Commitment:
        assert site.ledger.account is not None
        spent = self.twin.site_state(STUDY, site.ledger.account.address).epsilon_spent
        good = replace(self.world.commitment(site), epsilon_spent=spent)
        spoilt = [
            replace(good, blob=bytes(32)),
            replace(good, weight=self.draw.choice([0, TERMS.weight_cap + 1])),
            replace(good, epsilon_spent=self.draw.randrange(8)),
            replace(good, reveal=OTHER),
            replace(good, seen_block=good.seen_block + 1000),
            replace(good, seen_hash=OTHER),
        ]
        return self.draw.choices([good, self.draw.choice(spoilt)], [8, 1])[0]

    def _blockhash(self, number: int) -> bytes | None:
        known = self.head.number - 256 <= number < self.head.number
        return self.world.ledger.block(number).hash if known else None

    def _compare_states(self) -> None:
        ledger = self.world.ledger
        assert self.twin.consortium.active_seats == ledger.active_seats()
        if STUDY not in self.twin.studies:
            return
        assert self.twin.view_study(STUDY) == ledger.view_study(STUDY)
        for account in self.twin.consortium.founders:
            assert self.twin.site_state(STUDY, account) == ledger.site_state(STUDY, account)


def play(devnet: Devnet, seed: int) -> Counter[str]:
    """One random history of calls, from the proposal on."""
    draw = random.Random(seed)
    members = draw.randint(2, 5)
    pair = Pair(found(devnet, members), draw)
    pair.call(pair.world.sites[0], "propose", SPEC, _terms(draw))
    answering = members - draw.choice([0, 0, 1, 2])
    for site in pair.world.sites[: max(1, answering)]:
        pair.do(site, "accept")
    if answering < members and draw.random() < 0.5:
        pair.do(pair.world.sites[-1], "decline")
    for _ in range(STEPS):
        pair.step()
        if pair.twin.studies[STUDY].status in (Status.FINISHED, Status.ABORTED):
            break
    for site, function in zip(pair.world.sites, ["withdraw", "leave"], strict=False):
        pair.do(site, function)
    for site in pair.world.sites:
        pair.do(site, "vote_abort")
    return pair.outcomes


def _terms(draw: random.Random) -> Terms:
    return replace(
        TERMS,
        accept_seconds=20,
        statistics=draw.random() < 0.5,
        min_sites=draw.choice([1, 2, 2, 3]),
        quorum_bps=draw.choice([5001, 6667, 10000]),
        grace_seconds=draw.choice([0, 10, 1000]),
        least_seconds=draw.choice([1, 5, 1000]),
        epsilon_budget=draw.choice([0, 5]),
    )


@pytest.mark.slow
def test_the_twin_does_what_the_contracts_do_after_every_step_of_any_history(devnet: Devnet) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(HISTORIES):
        outcomes += play(devnet, seed)
    assert set(outcomes) >= CALLS | {"leave", "propose"}, "a call never worked: the histories prove nothing about it"
    assert sum(name[0].isupper() for name in outcomes) >= KINDS_OF_REFUSALS
