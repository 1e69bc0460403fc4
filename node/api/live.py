"""A running site as the HTTP interface sees it: parts of it, and one value that says how things stand."""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ledger.state import ConsortiumState, LedgerState, StudyState
from ledger.stream import Cursor, EventStream
from ledger.types import Address
from node.chain import Chain
from node.config import NodeConfig
from node.identity import Identity
from node.network.port import Network, PeerView, Traffic
from node.operator.desk import Desk
from node.site_folder import SiteFolder
from node.tally import Tally
from swarm.blobs import BlobStore


@dataclass(frozen=True, slots=True)
class LiveSite:
    """What a running site lends to its HTTP interface; `stop` ends the site, and is for the site's own thread."""

    folder: SiteFolder
    config: NodeConfig
    me: Identity
    chain: Chain
    network: Network
    store: BlobStore
    tally: Tally
    stop: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Observation:
    """A site at one moment. `head_age` is seconds since the newest block was first seen, by this machine's clock."""

    state: LedgerState
    cursor: Cursor | None
    reachable: bool
    head_age: float
    head_timestamp: int
    rpc_errors: int
    peers: Mapping[Address, PeerView]
    traffic: Mapping[Address, Traffic]
    round_seconds: Mapping[int, tuple[int, Mapping[str, float]]]
    peer_faults: Mapping[str, int]
    failures: Mapping[tuple[str, str], int]
    refusals: Mapping[str, int]
    failing: Mapping[tuple[int, str], str]
    halted: Mapping[int, str]

    @property
    def consortium(self) -> ConsortiumState:
        """Members and motions."""
        return self.state.consortium

    @property
    def connected(self) -> frozenset[Address]:
        """The members that are connected."""
        return frozenset(address for address, one in self.peers.items() if one.connected)

    @property
    def studies(self) -> Mapping[int, StudyState]:
        """The studies by number."""
        return self.state.studies


def observe(site: LiveSite) -> Observation:
    """Look at a site; in its own thread, and quickly: everything that takes time is done with the value elsewhere."""
    state, cursor = site.chain.snapshot()
    tally = site.tally
    return Observation(
        state=state,
        cursor=cursor,
        reachable=site.chain.reachable,
        head_age=site.chain.head_age(),
        head_timestamp=site.chain.tip.timestamp,
        rpc_errors=site.chain.rpc_errors,
        peers={one.address: one for one in site.network.peers()},
        traffic=site.network.traffic(),
        round_seconds={study: (sums.count, dict(sums.seconds)) for study, sums in tally.rounds.items()},
        peer_faults=dict(tally.peer_faults),
        failures=dict(tally.failures),
        refusals=dict(tally.refusals),
        failing=dict(tally.failing),
        halted=dict(tally.halted),
    )


def desk_of(site: LiveSite, seen: Observation) -> Desk:
    """An operator's desk at a running site, for the very functions that the command line uses.

    It has a reader of the ledger of its own, which goes on where the observation ends.
    """
    ledger = site.chain.ledger
    stream = EventStream(ledger, seen.cursor)
    return Desk(site.folder, site.config, site.me, site.me.address, ledger, stream, seen.state)


def free_bytes(site: LiveSite) -> int:
    """Free bytes of the disk that the site's folder is on."""
    return shutil.disk_usage(site.folder.home).free


def age_of_head(seen: Observation) -> float:
    """How old the newest block says that it is, by this machine's clock; it may be wrong by that clock's error."""
    return max(0.0, time.time() - seen.head_timestamp)
