"""The network of one site in a process of its own, at a machine of a lab, told what to do by the test.

nat_site.py NUMBER FOLDER SIZE RELAY      holds a blob of SIZE bytes; RELAY is "relay", or anything else

It prints [address, blob], then answers each line of JSON with a line of JSON:

    {"members": {address: [multiaddr, ...]}}   -> this site's own multiaddrs
    {"peers": true}                            -> [{address: "direct", its relay, or ""}, own multiaddrs]
    {"pull": blob, "from": [address, ...]}     -> whether it came
"""

import json
import sys
from pathlib import Path
from typing import Any

import trio

from node.network.errors import PullFailed
from node.network.host import Libp2pNetwork, open_network
from node.network.port import Hello
from node.network.relay.limits import RelayLimits, UseRelays
from node.network.tuning import Tuning
from swarm.folder_store import FolderStore
from swarm.manifest import BlobKind, TensorShape

PORT = 4001
CHUNK = 1 << 18
HELLO = Hello(31337, "0x" + "ab" * 20, "swarm-node/lab")
QUICK = Tuning(retry=0.1, retry_most=1.0, courtesy=0.2, look=0.3, ask=1.0, connect=5.0, relay_after=0.5)


def create(store: FolderStore, number: int, size: int) -> str:
    chunks = (
        (number << 16 | i // CHUNK).to_bytes(4, "big") * (min(CHUNK, size - i) // 4) for i in range(0, size, CHUNK)
    )
    layout = (TensorShape("w", (size // 4,)),)
    return store.create(BlobKind.UPDATE, "int32", layout, chunks, chunk_elements=CHUNK // 4).blob.hex()


async def obey(network: Libp2pNetwork, order: dict[str, Any]) -> Any:
    if "members" in order:
        network.set_members(order["members"])
        return network.addresses()
    if "pull" in order:
        try:
            with trio.fail_after(60):
                await network.pull(bytes.fromhex(order["pull"]), order["from"], max_bytes=1 << 30)
        except (PullFailed, trio.TooSlowError) as failure:
            return str(failure)
        return True
    ways = {view.address: (view.relay or "direct") if view.connected else "" for view in network.peers()}
    return [ways, network.addresses()]


async def main(number: int, folder: str, size: int, relay: str) -> None:
    store = FolderStore(Path(folder), durable=False)
    blob = create(store, number, size)
    network = open_network(
        bytes([number + 1]) * 32,
        store,
        HELLO,
        listen=f"/ip4/0.0.0.0/tcp/{PORT}",
        may_serve=lambda address, blob: True,
        on_fault=lambda fault: print(fault, file=sys.stderr, flush=True),
        tuning=QUICK,
        relay=RelayLimits() if relay == "relay" else None,
        use_relays=UseRelays.AUTO,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        print(json.dumps([network.address, blob]), flush=True)
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            print(json.dumps(await obey(network, json.loads(line))), flush=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    import logging

    logging.basicConfig(level=logging.INFO)
    trio.run(main, int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4])
