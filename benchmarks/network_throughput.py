"""How fast blobs travel: verified pulls over the libp2p host, beside a plain TCP exchange of the same bytes.

Every site is a process of its own with a store on disk; CPU is that process's, user and system. Run it with
`python benchmarks/network_throughput.py [--mb 100] [--json]`.
"""

import argparse
import hashlib
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import trio

from node.network.host import open_network
from node.network.port import Hello, Network
from swarm.folder_store import FolderStore
from swarm.manifest import BlobKind, Manifest, TensorShape

HELLO = Hello(31337, "0x" + "11" * 20, "benchmark")
LISTEN = "/ip4/127.0.0.1/tcp/0"
CHUNK = 4 << 20
SMALL_BYTES = 16_384
SMALL_PULLS = 200


@dataclass(frozen=True, slots=True)
class Line:
    """One measurement."""

    what: str
    seconds: float
    mb_per_s: float
    reader_cpu_ms_per_mb: float
    sender_cpu_ms_per_mb: float


def vector(size: int, seed: int) -> bytes:
    """Bytes that don't compress, the same for the same seed."""
    block = b"".join(hashlib.sha256(f"{seed}/{i}".encode()).digest() for i in range(1 << 15))
    return (block * (size // len(block) + 1))[:size]


def create(store: FolderStore, size: int, seed: int) -> Manifest:
    data = vector(size, seed)
    layout = (TensorShape("w", (size // 4,)),)
    return store.create(BlobKind.UPDATE, "int32", layout, (data[i : i + CHUNK] for i in range(0, size, CHUNK)))


async def serve(number: int, folder: str, size: int) -> None:
    """A source: one large blob, many small ones; told the members on stdin, it answers `cpu` messages."""
    store = FolderStore(folder, durable=False)
    blobs = [create(store, size, 0).blob] + [create(store, SMALL_BYTES, 1 + i).blob for i in range(SMALL_PULLS)]
    network = open_network(_key(number), store, HELLO, listen=LISTEN, may_serve=lambda address, blob: True)

    async def cpu(address: str, payload: bytes) -> bytes:
        return str(time.process_time()).encode()

    network.handle("cpu", cpu)
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        print(json.dumps([network.address, network.addresses(), [blob.hex() for blob in blobs]]), flush=True)
        network.set_members(json.loads(await trio.to_thread.run_sync(sys.stdin.readline)))
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()


def _key(number: int) -> bytes:
    return bytes([number + 1]) * 32


async def measure(sources: list[subprocess.Popen[str]], folder: str, size: int, rounds: int) -> list[Line]:
    said = [json.loads(source.stdout.readline()) for source in sources]
    store = FolderStore(folder, durable=False)
    network = open_network(_key(9), store, HELLO, listen=LISTEN, may_serve=lambda address, blob: False)
    lines = []
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        members = {address: addresses for address, addresses, _ in said}
        members[network.address] = network.addresses()
        for source in sources:
            source.stdin.write(json.dumps(members) + "\n")
            source.stdin.flush()
        network.set_members(members)
        while len(network.connected()) < len(sources):
            await trio.sleep(0.01)
        addresses = [address for address, _, _ in said]
        blobs = [bytes.fromhex(blob) for blob in said[0][2]]
        for count in sorted({1, len(sources)}):
            lines += [await pull(network, store, blobs[0], addresses[:count], size) for _ in range(rounds)]
        lines += [await small_pulls(network, blobs[1:], addresses[0])]
        nursery.cancel_scope.cancel()
    return lines


async def cpu_of(network: Network, addresses: list[str]) -> float:
    return sum([float(await network.request(address, "cpu", b"")) for address in addresses])


async def pull(network: Network, store: FolderStore, blob: bytes, addresses: list[str], size: int) -> Line:
    theirs, mine, start = await cpu_of(network, addresses), time.process_time(), time.perf_counter()
    await network.pull(blob, addresses, max_bytes=size)
    seconds, mine = time.perf_counter() - start, time.process_time() - mine
    theirs = await cpu_of(network, addresses) - theirs
    store.delete(blob)
    mb = size / 1e6
    return Line(f"verified pull, {len(addresses)} source(s)", seconds, mb / seconds, 1e3 * mine / mb, 1e3 * theirs / mb)


async def small_pulls(network: Network, blobs: list[bytes], address: str) -> Line:
    theirs, mine, times = await cpu_of(network, [address]), time.process_time(), [time.perf_counter()]
    for blob in blobs:
        await network.pull(blob, [address], max_bytes=SMALL_BYTES)
        times.append(time.perf_counter())
    mine, theirs = time.process_time() - mine, await cpu_of(network, [address]) - theirs
    waits = sorted(after - before for before, after in pairwise(times))
    middle, worst = waits[len(waits) // 2], waits[int(len(waits) * 0.99)]
    mb = SMALL_BYTES * len(blobs) / 1e6
    print(
        f"small pull ({SMALL_BYTES} bytes): p50 {1e3 * middle:.2f} ms, p99 {1e3 * worst:.2f} ms, "
        f"CPU {1e3 * mine / len(blobs):.2f} ms reader, {1e3 * theirs / len(blobs):.2f} ms sender",
        file=sys.stderr,
    )
    total = times[-1] - times[0]
    return Line(f"{len(blobs)} small pulls", total, mb / total, 1e3 * mine / mb, 1e3 * theirs / mb)


def plain_tcp(size: int) -> Line:
    """The same bytes over one plain socket, unverified, in two threads of this process; CPU is of both together."""
    data, received = vector(size, 0), bytearray(size)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def send() -> None:
            with socket.create_connection(server.getsockname()) as sock:
                sock.sendall(data)

        sender = threading.Thread(target=send)
        cpu, start = time.process_time(), time.perf_counter()
        sender.start()
        connection, _ = server.accept()
        with connection:
            view = memoryview(received)
            while view:
                view = view[connection.recv_into(view, min(len(view), 1 << 20)) :]
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        sender.join()
    if received != data:
        raise RuntimeError("the bytes changed on the way")
    mb = size / 1e6
    return Line("plain TCP, not verified", seconds, mb / seconds, 1e3 * cpu / mb, 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=100)
    parser.add_argument("--sources", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    size = args.mb * 1_000_000
    if args.serve:
        trio.run(serve, int(args.serve[0]), args.serve[1], size)
        return
    with tempfile.TemporaryDirectory(prefix="swarm-bench-") as folder:
        command = [sys.executable, __file__, "--mb", str(args.mb), "--serve"]
        sources = [
            subprocess.Popen(
                [*command, str(number), str(Path(folder) / str(number))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(args.sources)
        ]
        try:
            lines = [plain_tcp(size) for _ in range(args.rounds)]
            lines += trio.run(measure, sources, str(Path(folder) / "reader"), size, args.rounds)
        finally:
            for source in sources:
                source.kill()
                source.communicate()
    for line in lines:
        print(
            f"{line.what:28} {line.seconds:7.3f} s {line.mb_per_s:7.0f} MB/s  CPU ms/MB: "
            f"{line.reader_cpu_ms_per_mb:6.2f} reader {line.sender_cpu_ms_per_mb:6.2f} sender",
            file=sys.stderr,
        )
    if args.json:
        print(json.dumps([asdict(line) for line in lines]))


if __name__ == "__main__":
    main()
