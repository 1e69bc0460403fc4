"""Whether members can be reached from here, and this site from there, asked by a host that stands for a moment."""

from dataclasses import dataclass
from functools import partial

import trio

from ledger.types import Address
from node.config import NodeConfig
from node.expected import first_expected
from node.network.port import Hello, PeerView
from node.operator.desk import Desk, signer
from node.version import SOFTWARE
from swarm.memory_store import MemoryStore

PATIENCE = 10.0
ASKED = 3  # members that are asked to dial this site
LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Reached:
    """Where this site listens, how each member was reached or why it wasn't, and which of them could dial us where.

    `dialled` has, for each member that was asked, the addresses of ours that it reached, and those that it did not.
    """

    addresses: list[str]
    views: dict[Address, PeerView]
    dialled: dict[Address, tuple[list[str], list[str]]]


def reach(desk: Desk, config: NodeConfig) -> Reached:
    """Listen where this site would, dial every member and be dialled, for a few seconds; raises ListenFailed."""
    try:
        return trio.run(partial(_reach, desk, config), strict_exception_groups=True)
    except BaseExceptionGroup as group:
        raise first_expected(group) from None


async def _reach(desk: Desk, config: NodeConfig) -> Reached:
    from node.network.errands import Probe
    from node.network.host import open_network

    deployment = desk.ledger.deployment
    network = open_network(
        signer(desk).key,
        MemoryStore(),
        Hello(deployment.chain_id, deployment.study, SOFTWARE),
        listen=config.listen,
        announce=config.announce,
        may_serve=lambda address, blob: False,
    )
    members = {account: member.addresses for account, member in desk.consortium.members.items()}
    network.set_members(members)
    dialled = {}
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        with trio.move_on_after(PATIENCE):
            while {view.address for view in network.peers() if view.hello is None}:
                await trio.sleep(LOOK_SECONDS)
        views = {view.address: view for view in network.peers()}
        addresses = network.addresses()
        for account in [account for account, view in views.items() if view.connected and view.relay is None][:ASKED]:
            witness = await network.reachability.ask(account)
            if witness is not None:
                good = [text for text in addresses if witness.probes.get(text) == Probe.REACHED]
                dialled[account] = (good, [text for text in addresses if text not in good])
        nursery.cancel_scope.cancel()
    return Reached(addresses, views, dialled)
