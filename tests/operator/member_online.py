"""A member's network in a thread of the test, so that a command in the test's own thread can reach it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue
from typing import Any

import trio
from operator_world import World

from ledger.account import Account
from ledger.client import Ledger
from ledger.deployment import Deployment
from node import config as configuration
from node import endpoint, identity
from node.network.host import open_network
from node.network.port import Hello
from node.network.relay.limits import RelayLimits
from node.version import SOFTWARE
from swarm.memory_store import MemoryStore


@contextmanager
def online(world: World, name: str, *, relay: bool = False, **hello: Any) -> Iterator[list[str]]:
    """Run a member's network, with its addresses on the ledger; `hello` are fields of what it says of itself."""
    home = world.home(name)
    config = configuration.load(home)
    key = identity.unlock(home / "keystore.json", config.password_at(home)).key
    ledger = Ledger(endpoint.connect(config, home), Deployment.load(world.deployment), Account(key))
    says = {"software": SOFTWARE, **hello}
    network = open_network(
        key,
        MemoryStore(),
        Hello(ledger.deployment.chain_id, ledger.deployment.study, **says),
        listen="/ip4/127.0.0.1/tcp/0",
        may_serve=lambda address, blob: False,
        relay=RelayLimits() if relay else None,
    )
    network.set_members(dict.fromkeys(ledger.members().values(), ()))
    up: Queue[tuple[trio.lowlevel.TrioToken, trio.CancelScope]] = Queue()

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(network.run)
            up.put((trio.lowlevel.current_trio_token(), nursery.cancel_scope))
            await trio.sleep_forever()

    thread = threading.Thread(target=trio.run, args=(run,))
    thread.start()
    token, scope = up.get(timeout=30)
    try:
        ledger.publish_addresses(network.addresses())
        yield network.addresses()
    finally:
        token.run_sync_soon(scope.cancel)
        thread.join()
        ledger.close()
