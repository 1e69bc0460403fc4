"""What a running site lends to its studies."""

from collections.abc import Callable
from dataclasses import dataclass, field

from node.chain import Chain
from node.claims import Claims
from node.faults import DieAt
from node.network.port import Network
from node.tally import Tally
from swarm.blobs import BlobStore


@dataclass(frozen=True, slots=True)
class SiteParts:
    """What a running site lends to its studies."""

    address: str
    chain: Chain
    network: Network
    store: BlobStore
    claims: Claims
    die_at: DieAt | None = None
    is_paused: Callable[[], bool] = lambda: False
    tally: Tally = field(default_factory=Tally)
