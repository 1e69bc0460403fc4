"""How quick the way to other members is: a short question timed, and a model that both may have."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import monotonic

import trio

from ledger.types import ZERO_HASH, Address
from node.expected import first_expected
from node.network.errors import NetworkError
from node.network.port import Hello, Network
from node.operator.desk import Desk, signer
from node.version import SOFTWARE
from swarm.errors import BlobError
from swarm.memory_store import MemoryStore

CONNECT_SECONDS = 5.0
PULL_SECONDS = 10.0
LARGEST_PULL = 16 << 20
TELLING_BYTES = 64 << 10
"""A smaller blob says how long the way is, and nothing of how wide."""
LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Link:
    """The way to one member: seconds there and back, and bytes a second where enough of them could be had."""

    round_trip: float
    bytes_per_second: float | None = None


def measure(desk: Desk, members: Sequence[Address]) -> dict[Address, Link]:
    """Ask these members, which answered a moment ago; gives nothing of those that answer no more."""
    try:
        return trio.run(partial(_measure, desk, members), strict_exception_groups=True)
    except BaseExceptionGroup as group:
        raise first_expected(group) from None


async def _measure(desk: Desk, members: Sequence[Address]) -> dict[Address, Link]:
    from node.network.host import open_network

    deployment, store = desk.ledger.deployment, MemoryStore()
    network = open_network(
        signer(desk).key,
        store,
        Hello(deployment.chain_id, deployment.study, SOFTWARE),
        listen=desk.config.listen,
        announce=desk.config.announce,
        may_serve=lambda address, blob: False,
        on_fault=lambda fault: None,
    )
    network.set_members({one: desk.consortium.members[one].addresses for one in members})
    links: dict[Address, Link] = {}
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        with trio.move_on_after(CONNECT_SECONDS):
            while not network.connected() >= set(members):
                await trio.sleep(LOOK_SECONDS)
        for member in network.connected():
            links[member] = await _link(network, store, member, _common_models(desk, member))
        nursery.cancel_scope.cancel()
    return links


async def _link(network: Network, store: MemoryStore, member: Address, models: Sequence[bytes]) -> Link:
    begin = monotonic()
    with suppress(NetworkError):  # nobody answers such a question: what counts is how long the refusal takes
        await network.request(member, "how-far", b"")
    round_trip = monotonic() - begin
    for blob in models:
        begin = monotonic()
        with trio.move_on_after(PULL_SECONDS):
            try:
                manifest = await network.pull(blob, [member], max_bytes=LARGEST_PULL)
            except (NetworkError, BlobError):
                continue
            store.delete(blob)
            if manifest.size >= TELLING_BYTES:
                return Link(round_trip, manifest.size / max(monotonic() - begin - 2 * round_trip, 1e-3))
    return Link(round_trip)


def _common_models(desk: Desk, member: Address) -> list[bytes]:
    """The newest final model of each study in which both take part."""
    both = {desk.address, member}
    studies = (study for study in desk.state.studies.values() if both <= study.sites.keys())
    return [study.last_final for study in studies if study.last_final != ZERO_HASH]
