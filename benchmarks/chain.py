"""A devnet in a process of its own, so that what the chain costs can be told from what the measuring costs.

`python -m benchmarks.chain FOLDER` prints the address of its socket and runs until the end of its input.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import BenchmarkFailed
from ledger.devnet import Devnet
from ledger.errors import DevnetError

STOP_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Chain:
    """A running chain: where it is reached, and its process."""

    ipc: str
    pid: int


@contextmanager
def chain(folder: Path) -> Iterator[Chain]:
    """Run a chain in that folder; raises BenchmarkFailed."""
    command = [sys.executable, "-m", "benchmarks.chain", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            ipc = process.stdout.readline().strip()
            if not ipc:
                raise BenchmarkFailed("the chain did not start; what it says is above")
            yield Chain(ipc, process.pid)
        finally:
            process.stdin.close()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def main() -> None:
    try:
        with Devnet.start(Path(sys.argv[1])) as devnet:
            print(devnet.ipc, flush=True)
            sys.stdin.read()
    except DevnetError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
