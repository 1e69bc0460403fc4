"""What the machine's loopback can carry: every site sends the same bytes to every other one over plain TCP.

Each site is a process with one blocking socket to and from each other one; nothing is hashed, written or encrypted.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

READ_BYTES = 1 << 20
PATIENCE = 300.0


@dataclass(frozen=True, slots=True)
class Exchange:
    """One exchange: the seconds of the slowest site, the CPU seconds of all, and the bytes that all received."""

    seconds: float
    cpu_seconds: float
    bytes: int

    @property
    def mb_per_second(self) -> float:
        return self.bytes / 1e6 / self.seconds


def exchange(sites: int, size: int, rounds: int) -> list[Exchange]:
    """Let each of `sites` processes send `size` bytes to each other one, several times over."""
    with ExitStack() as stack:
        processes = [_start(stack, site, sites, size, rounds) for site in range(sites)]
        ports = [json.loads(process.stdout.readline()) for process in processes]
        for process in processes:
            _tell(process, ports)
        results = []
        for _ in range(rounds):
            for process in processes:
                process.stdout.readline()  # it is ready for the next round
            for process in processes:
                _tell(process, "go")
            said = [json.loads(process.stdout.readline()) for process in processes]
            seconds, cpu = max(one["seconds"] for one in said), sum(one["cpu"] for one in said)
            results.append(Exchange(seconds, cpu, sites * (sites - 1) * size))
        return results


def _start(stack: ExitStack, site: int, sites: int, size: int, rounds: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "benchmarks.plain_tcp", *map(str, (site, sites, size, rounds))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    stack.enter_context(process)
    stack.callback(process.kill)
    watchdog = threading.Timer(PATIENCE, process.kill)  # a read of its output then ends, and fails
    watchdog.daemon = True
    watchdog.start()
    stack.callback(watchdog.cancel)
    return process


def _tell(process: "subprocess.Popen[str]", what: object) -> None:
    process.stdin.write(json.dumps(what) + "\n")
    process.stdin.flush()


def _receive(sock: socket.socket, into: bytearray) -> None:
    view = memoryview(into)
    while view:
        count = sock.recv_into(view, min(len(view), READ_BYTES))
        if not count:
            raise ConnectionError("a site left in the middle of the exchange")
        view = view[count:]


def site(number: int, sites: int, size: int, rounds: int) -> None:
    """One site: told the ports of all on its input, it says on its output how long each round took."""
    others = [other for other in range(sites) if other != number]
    data, buffers = os.urandom(size), [bytearray(size) for _ in others]
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        print(server.getsockname()[1], flush=True)
        ports = json.loads(sys.stdin.readline())
        outgoing = [stack.enter_context(socket.create_connection(("127.0.0.1", ports[other]))) for other in others]
        incoming = [stack.enter_context(server.accept()[0]) for _ in others]
        pool = stack.enter_context(ThreadPoolExecutor(2 * len(others)))
        for _ in range(rounds):
            print("ready", flush=True)
            sys.stdin.readline()
            begun, cpu = time.perf_counter(), time.process_time()
            under_way = [pool.submit(sock.sendall, data) for sock in outgoing]
            under_way += [pool.submit(_receive, *pair) for pair in zip(incoming, buffers, strict=True)]
            for one in under_way:
                one.result()
            print(json.dumps({"seconds": time.perf_counter() - begun, "cpu": time.process_time() - cpu}), flush=True)


if __name__ == "__main__":
    site(*map(int, sys.argv[1:]))
