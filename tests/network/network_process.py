"""A site in a process of its own, told what to do by the test that started it.

python network_process.py NUMBER FOLDER SIZE      serve a blob of SIZE bytes (0 for none)

It prints a line [address, addresses, blob], reads the members as a line of JSON, and then for each line
{"pull": blob, "from": addresses} pulls, and prints [seconds, bytes by which the process has grown]. It ends with stdin.
"""

import json
import resource
import sys
import time

import trio
from network_world import HELLO, LISTEN, QUICK, key_of

from node.network.host import open_network
from swarm.folder_store import FolderStore
from swarm.manifest import BlobKind, TensorShape

CHUNK = 1 << 20


def create(store: FolderStore, size: int) -> str:
    chunks = (i.to_bytes(4, "big") * (min(CHUNK, size - i) // 4) for i in range(0, size, CHUNK))
    layout = (TensorShape("w", (size // 4,)),)
    return store.create(BlobKind.UPDATE, "int32", layout, chunks, chunk_elements=CHUNK // 4).blob.hex()


async def main(number: int, folder: str, size: int) -> None:
    store = FolderStore(folder, durable=False)
    blob = create(store, size) if size else ""
    network = open_network(
        key_of(number), store, HELLO, listen=LISTEN, may_serve=lambda address, blob: True, tuning=QUICK
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        print(json.dumps([network.address, network.addresses(), blob]), flush=True)
        network.set_members(json.loads(await line()))
        while command := await line():
            order = json.loads(command)
            before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
            await network.pull(bytes.fromhex(order["pull"]), order["from"], max_bytes=1 << 32)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
            print(json.dumps([time.monotonic() - began, grown]), flush=True)
        nursery.cancel_scope.cancel()


async def line() -> str:
    return str(await trio.to_thread.run_sync(sys.stdin.readline))


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
