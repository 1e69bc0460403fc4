"""A consortium on a devnet, and what its sites hold, for the tests of the ledger."""

import hashlib
import itertools
from dataclasses import dataclass, field

from ledger.abi import keccak256
from ledger.account import Account
from ledger.client import Ledger
from ledger.deployment import Deployment, deploy
from ledger.devnet import Devnet
from ledger.rpc import Rpc
from ledger.types import Commitment, Founder, Position, Terms

TERMS = Terms(
    rounds=3,
    statistics=False,
    min_sites=2,
    quorum_bps=6667,
    accept_seconds=600,
    collect_seconds=60,
    grace_seconds=10,
    merge_seconds=30,
    review_seconds=30,
    least_seconds=30,
    weight_cap=1000,
    epsilon_budget=0,
    clip_bound=1_000_000,
)
SPEC = b'{"a":"study"}'
SPEC_HASH = hashlib.sha256(SPEC).digest()
_fresh = itertools.count(10_000)  # apart from the accounts that tests name by number


def account(number: int) -> Account:
    return Account(hashlib.sha256(f"account {number}".encode()).digest())


def position(block: int = 1, log_index: int = 0) -> Position:
    return Position(block, log_index, bytes(32), bytes(32), 1_700_000_000 + block)


@dataclass
class Site:
    """A site: its client and its hash chain, from the tip down."""

    ledger: Ledger
    links: list[bytes]
    revealed: int = 0

    def next_reveal(self) -> bytes:
        return self.links[self.revealed + 1]


def hash_chain(length: int = 64) -> list[bytes]:
    links = [hashlib.sha256(f"chain {next(_fresh)}".encode()).digest()]
    while len(links) < length:
        links.append(keccak256(links[-1]))
    return links[::-1]


@dataclass
class World:
    devnet: Devnet
    deployment: Deployment
    sites: list[Site]
    studies: list[int] = field(default_factory=list)

    @property
    def ledger(self) -> Ledger:
        return self.sites[0].ledger

    def commitment(self, site: Site, *, weight: int = 10, blob: bytes = b"\x01" * 32) -> Commitment:
        head = site.ledger.head()
        seen = site.ledger.block(head.number - 1)
        return Commitment(blob, weight, 0, site.next_reveal(), seen.number, seen.hash)

    def run_study(self, terms: Terms = TERMS) -> int:
        """Propose a study that every site accepts."""
        study, _ = self.ledger.propose(SPEC, terms)
        for site in self.sites:
            site.ledger.accept(study, SPEC_HASH, site.links[site.revealed])
        return study

    def commit(self, site: Site, study: int, number: int, attempt: int = 0) -> None:
        site.ledger.commit(study, number, attempt, self.commitment(site))
        site.revealed += 1


def found(devnet: Devnet, members: int, *, rpc: Rpc | None = None) -> World:
    """Deploy a consortium of so many fresh members."""
    accounts = [account(next(_fresh)) for _ in range(members)]
    founders = [Founder(one.address, f"site-{index}") for index, one in enumerate(accounts)]
    shared = rpc if rpc is not None else devnet.rpc()
    deployment = deploy(shared, accounts[0], founders, 6667, 600)
    return World(devnet, deployment, [Site(Ledger(shared, deployment, one), hash_chain()) for one in accounts])
