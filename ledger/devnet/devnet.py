"""The devnet as the command line runs it: started, persisted, restarted and stopped."""

import hashlib
import os
import secrets
import socket
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ledger.devnet.anvil import Anvil, find_anvil
from ledger.devnet.chain import Chain
from ledger.devnet.gate import Gate
from ledger.devnet.journal import Journal
from ledger.errors import DevnetError, RpcError
from ledger.rpc import NodeRpc, connect

CHAIN_ID: Final = 4711
_START_SECONDS: Final = 20.0
_GENESIS_SPREAD: Final = 1 << 22  # 48 days
_LONGEST_SOCKET_PATH: Final = 90  # sun_path has 104 bytes on macOS, 108 on Linux


class Devnet:
    """A development chain in a folder: the same chain each time it is started there.

    Transactions are mined at once and are on the disk before their receipts exist; without transactions there is a
    block every second, and up to every 15 s when nothing happens for long. Clients reach it by `ipc`, or by `url`,
    which costs more; both stay the same over `restart`. Use it as a context manager, or call `stop`.
    """

    def __init__(self, folder: Path, *, port: int = 0, chain_id: int = CHAIN_ID, anvil: Path | None = None) -> None:
        """Name the folder; `start` starts it. `port` 0 takes any that is free."""
        self.folder = folder
        self.chain_id = chain_id
        self._port = port
        self._binary = anvil
        self._socket_path = _socket_path(folder, "chain.ipc")
        self._run: _Run | None = None

    @classmethod
    def start(cls, folder: Path, *, port: int = 0, chain_id: int = CHAIN_ID, anvil: Path | None = None) -> Self:
        """Start the chain that is in the folder, or a new one; raises DevnetError and its kinds."""
        devnet = cls(folder, port=port, chain_id=chain_id, anvil=anvil)
        devnet._begin()
        return devnet

    @property
    def url(self) -> str:
        """The HTTP address, on this machine only."""
        return f"http://127.0.0.1:{self._known().gate.port}"

    @property
    def ipc(self) -> str:
        """The address of the Unix socket: several times cheaper than HTTP."""
        return f"ipc://{self._socket_path}"

    @property
    def pid(self) -> int:
        """The process id of anvil."""
        return self._known().anvil.pid

    @property
    def is_running(self) -> bool:
        """Whether the chain makes blocks."""
        return self._run is not None and self._run.is_alive()

    def rpc(self) -> NodeRpc:
        """Give a connection to the chain."""
        return connect(self.ipc)

    def advance(self, seconds: int) -> None:
        """Move the chain's clock ahead by some seconds, for good, and mine a block: deadlines pass without waiting."""
        self._known().chain.advance(seconds)

    def restart(self) -> None:
        """Start anvil again on the same chain and addresses, whatever became of it; clients see it come back."""
        self._port = self._known().gate.port
        self.stop()
        self._begin()

    def stop(self) -> None:
        """Stop, leaving nothing running; the chain stays in the folder. Does nothing the second time."""
        if self._run is not None:
            self._run.stop()
            self._run = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _known(self) -> "_Run":
        if self._run is None:
            raise DevnetError(f"the devnet in {self.folder} is stopped; start it again")
        return self._run

    def _begin(self) -> None:
        self._run = _Run(self._binary or find_anvil(), self.folder, self.chain_id, self._socket_path, self._port)


class _Run:
    """One life of anvil, with the thread that makes its blocks and the gate in front of it."""

    def __init__(self, binary: Path, folder: Path, chain_id: int, public: Path, port: int) -> None:
        log = folder / "anvil.log"
        with ExitStack() as stack:
            journal = Journal(folder / "chain.jsonl", chain_id, _new_genesis_time())
            stack.callback(journal.close)
            inside = _socket_path(folder, "anvil.ipc")
            stack.callback(inside.unlink, missing_ok=True)
            for old in (log, inside):
                old.unlink(missing_ok=True)
            self.anvil = Anvil(binary, _arguments(chain_id, journal.genesis_time, inside), log)
            stack.callback(self.anvil.kill)
            rpc = connect(f"ipc://{inside}")
            stack.callback(rpc.close)
            _wait_for(self.anvil, inside, log)
            self.chain = Chain(rpc, journal)
            try:
                self.chain.replay(journal.records)
            except RpcError as error:
                raise DevnetError(f"anvil failed while it started: {error}; see {log}") from error
            journal.records.clear()
            self._thread = threading.Thread(target=self.chain.run, name="devnet-miner", daemon=True)
            self._thread.start()
            stack.callback(self._thread.join)
            stack.callback(self.chain.stop)
            self.gate = Gate(public, port, self.chain, inside)  # nobody is let in before the chain is whole
            stack.callback(self.gate.close)
            self._stack = stack.pop_all()

    def is_alive(self) -> bool:
        """Say whether blocks are made and anvil runs."""
        return self._thread.is_alive() and self.anvil.is_running()

    def stop(self) -> None:
        """End everything, in the opposite order of its beginning."""
        self._stack.close()


def _arguments(chain_id: int, genesis_time: int, ipc: Path) -> list[str]:
    return [
        *("--host", "127.0.0.1", "--port", str(_free_port()), "--no-cors", "--quiet", "--ipc", str(ipc)),
        *("--chain-id", str(chain_id), "--timestamp", str(genesis_time)),
        *("--no-mining", "--order", "fifo", "--accounts", "0", "--base-fee", "0", "--gas-price", "0"),
        *("--hardfork", "cancun", "--prune-history"),  # without these a block costs more the longer the chain is
    ]


def _wait_for(anvil: Anvil, ipc: Path, log: Path) -> None:
    """Wait until anvil listens; raises DevnetError."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(ipc)) == 0:
                return
        if not anvil.is_running():
            raise DevnetError(f"anvil ended at once: {anvil.last_words()}")
        time.sleep(0.005)
    raise DevnetError(f"anvil did not listen within {_START_SECONDS:g} s; see {log}")


def _new_genesis_time() -> int:
    """Draw a time for a new chain's genesis, so that no two chains have the same one, however soon one follows another.

    It is all that differs between their genesis blocks, and their hashes tell clients that a chain was reset.
    """
    return int(time.time()) - secrets.randbelow(_GENESIS_SPREAD)


def _free_port() -> int:
    """Choose a port for anvil's own HTTP server, which can't be switched off; nobody is told of it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _socket_path(folder: Path, name: str) -> Path:
    """Give the path of a socket: in the folder where the system allows so long a path, else in a short one."""
    path = folder.absolute() / name
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    short = Path(tempfile.gettempdir(), f"swarm-devnet-{os.getuid()}")
    short.mkdir(mode=0o700, exist_ok=True)
    return short / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.ipc"
