"""Whether the other members can be reached from here, asked by a host that stands for a moment."""

from dataclasses import dataclass
from functools import partial

import trio

from ledger.types import Address
from node.config import NodeConfig
from node.expected import first_expected
from node.network.port import Hello, PeerFault
from node.operator.desk import Desk, signer
from node.version import SOFTWARE
from swarm.memory_store import MemoryStore

PATIENCE = 10.0
LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Reached:
    """Where this site listens, what the members that answered said, and why others didn't."""

    addresses: list[str]
    hellos: dict[Address, Hello]
    faults: dict[Address, str]


def reach(desk: Desk, config: NodeConfig) -> Reached:
    """Listen where this site would and dial every member, for a few seconds; raises ListenFailed."""
    try:
        return trio.run(partial(_reach, desk, config), strict_exception_groups=True)
    except BaseExceptionGroup as group:
        raise first_expected(group) from None


async def _reach(desk: Desk, config: NodeConfig) -> Reached:
    from node.network.host import open_network

    faults: dict[Address, str] = {}

    def note(fault: PeerFault) -> None:
        faults[fault.address] = f"{fault.kind}: {fault.detail}"

    deployment = desk.ledger.deployment
    network = open_network(
        signer(desk).key,
        MemoryStore(),
        Hello(deployment.chain_id, deployment.study, SOFTWARE),
        listen=config.listen,
        announce=config.announce,
        may_serve=lambda address, blob: False,
        on_fault=note,
    )
    members = {account: member.addresses for account, member in desk.consortium.members.items()}
    network.set_members(members)
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        with trio.move_on_after(PATIENCE):
            while network.connected() | {desk.address} != members.keys():
                await trio.sleep(LOOK_SECONDS)
        reached = Reached(network.addresses(), network.hellos(), faults)
        nursery.cancel_scope.cancel()
    return reached
