"""The devnet as the command line runs it: started, persisted, restarted and stopped."""

import hashlib
import os
import secrets
import select
import shutil
import socket
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ledger.devnet.anvil import Anvil, find_anvil
from ledger.devnet.feed import Feed
from ledger.devnet.journal import Journal
from ledger.devnet.miner import Miner
from ledger.devnet.relay import Relay
from ledger.errors import DevnetError, LedgerError, RpcRefused
from ledger.rpc import NodeRpc, connect

CHAIN_ID: Final = 4711
_GENESIS_SPREAD: Final = 1 << 22  # 48 days
_START_SECONDS: Final = 20.0
_LONGEST_SOCKET_PATH: Final = 90  # sun_path has 104 bytes on macOS, 108 on Linux


class Devnet:
    """A development chain in a folder: the same chain each time it is started there.

    Transactions are mined at once and are on the disk before their receipts exist; without transactions there is a
    block every second, and up to every 15 s when nothing happens for long. Clients reach it by `ipc`, or by `url`,
    which cost more; both stay the same over `restart`. Use it as a context manager, or call `stop`.
    """

    def __init__(self, folder: Path, *, port: int = 0, chain_id: int = CHAIN_ID, anvil: Path | None = None) -> None:
        """Name the folder; `start` starts it. `port` 0 takes any that is free."""
        self.folder = folder
        self.chain_id = chain_id
        self._wanted_port = port
        self._binary = anvil
        self._socket_path = _socket_path(folder)
        self._relay: Relay | None = None
        self._run: _Run | None = None

    @classmethod
    def start(cls, folder: Path, *, port: int = 0, chain_id: int = CHAIN_ID, anvil: Path | None = None) -> Self:
        """Start the chain that is in the folder, or a new one; raises DevnetError and its kinds."""
        devnet = cls(folder, port=port, chain_id=chain_id, anvil=anvil)
        devnet._relay = Relay(port)
        try:
            devnet._begin()
        except BaseException:
            devnet.stop()
            raise
        return devnet

    @property
    def url(self) -> str:
        """The HTTP address, on this machine only."""
        if self._relay is None:
            raise DevnetError("the devnet is stopped")
        return f"http://127.0.0.1:{self._relay.port}"

    @property
    def ipc(self) -> str:
        """The address of the Unix socket: five times cheaper than HTTP."""
        return f"ipc://{self._socket_path}"

    @property
    def pid(self) -> int:
        """The process id of anvil."""
        return self._running().anvil.pid

    @property
    def is_running(self) -> bool:
        """Whether the chain makes blocks."""
        return self._run is not None and self._run.is_alive()

    def rpc(self) -> NodeRpc:
        """Give a connection to the chain."""
        return connect(self.ipc)

    def advance(self, seconds: int) -> None:
        """Move the chain's clock ahead by some seconds, for good, and mine a block: deadlines pass without waiting."""
        self._running().advance(seconds)

    def restart(self) -> None:
        """Start anvil again on the same chain and addresses, whatever became of it; clients see it come back."""
        if self._relay is None:
            raise DevnetError("the devnet is stopped; start it again")
        self._end()
        self._begin()

    def stop(self) -> None:
        """Stop, leaving nothing running; the chain stays in the folder. Does nothing the second time."""
        self._end()
        if self._relay is not None:
            self._relay.close()
            self._relay = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _running(self) -> "_Run":
        if self._run is None or not self._run.is_alive():
            raise DevnetError(f"the devnet in {self.folder} is not running; see {self.folder / 'anvil.log'}")
        return self._run

    def _begin(self) -> None:
        if self._relay is None:
            raise DevnetError("the devnet is stopped")
        self._run = _Run(self._binary or find_anvil(), self.folder, self.chain_id, self._socket_path, self._relay)

    def _end(self) -> None:
        if self._run is not None:
            self._run.stop()
            self._run = None


class _Run:
    """One life of anvil, and the thread that makes its blocks."""

    def __init__(self, binary: Path, folder: Path, chain_id: int, public: Path, relay: Relay) -> None:
        self._public = public
        self._relay = relay
        self._log = folder / "anvil.log"
        self._journal = Journal(folder / "chain.jsonl", chain_id, _new_genesis_time())
        self._private = Path(tempfile.mkdtemp(prefix="swarm-"))
        self._lock = threading.Lock()
        self._wake, self._woken = socket.socketpair()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._feed: Feed | None = None
        self._log.unlink(missing_ok=True)
        self._port = _free_port()
        try:
            self.anvil = Anvil(binary, self._arguments(chain_id), self._log)
            self._feed = self._connect()
            self._miner = Miner(self._feed, self._journal)
            self._miner.replay(self._journal.records)
            self._journal.records.clear()
            self._miner.mine([])  # so that the head's time is today's
            self._feed.follow_transactions()
            self._publish()
        except (OSError, RpcRefused) as error:
            self.stop()
            raise DevnetError(f"anvil failed while it started: {error}; see {self._log}") from error
        except BaseException:
            self.stop()
            raise
        self._thread = threading.Thread(target=self._work, name="devnet-miner", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        """Say whether the miner works and anvil runs."""
        return self._thread is not None and self._thread.is_alive() and self.anvil.is_running()

    def advance(self, seconds: int) -> None:
        """Move the chain's clock."""
        with self._lock:
            try:
                self._miner.advance(seconds)
            except OSError as error:
                raise DevnetError(f"anvil has gone: {error}; see {self._log}") from error

    def stop(self) -> None:
        """End anvil and the miner, and leave the journal complete."""
        self._stopping = True
        self._wake.send(b"x")
        if self._thread is not None:
            self._thread.join()
        self._relay.lead_to(None)
        self._public.unlink(missing_ok=True)
        if hasattr(self, "anvil"):
            self.anvil.kill()
        if self._feed is not None:
            self._feed.close()
        self._journal.close()
        self._wake.close()
        self._woken.close()
        shutil.rmtree(self._private, ignore_errors=True)

    def _arguments(self, chain_id: int) -> list[str]:
        return [
            *(
                "--host",
                "127.0.0.1",
                "--port",
                str(self._port),
                "--no-cors",
                "--quiet",
                "--ipc",
                str(self._private / "anvil.ipc"),
            ),
            *("--chain-id", str(chain_id), "--timestamp", str(self._journal.genesis_time)),
            *("--no-mining", "--order", "fifo", "--accounts", "0", "--base-fee", "0", "--gas-price", "0"),
            *("--hardfork", "cancun", "--prune-history"),  # without these a block costs more the longer the chain is
        ]

    def _connect(self) -> Feed:
        """Wait until anvil listens."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            try:
                return Feed(self._private / "anvil.ipc")
            except OSError:
                if not self.anvil.is_running():
                    raise DevnetError(f"anvil ended at once: {self.anvil.last_words()}") from None
                time.sleep(0.005)
        raise DevnetError(f"anvil did not listen within {_START_SECONDS:g} s; see {self._log}")

    def _publish(self) -> None:
        """Let clients in, now that the chain is whole."""
        self._public.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self._private / "anvil.ipc", self._public)
        self._relay.lead_to(self._port)

    def _work(self) -> None:
        """Mine until told to stop, or until anvil has gone."""
        feed = self._feed
        if feed is None:
            return
        while not self._stopping:
            wait = 0 if self._miner.must_hurry else self._miner.until_heartbeat()
            select.select([feed.fileno(), self._woken.fileno()], [], [], wait)
            if self._stopping:
                return
            with self._lock:
                try:
                    self._miner.follow()
                except (OSError, LedgerError):
                    return


def _new_genesis_time() -> int:
    """Draw a time for a new chain's genesis, so that no two chains have the same one, however soon one follows another.

    It is all that differs between their genesis blocks, and their hashes tell clients that a chain was reset.
    """
    return int(time.time()) - secrets.randbelow(_GENESIS_SPREAD)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _socket_path(folder: Path) -> Path:
    """Give the path of the socket: in the folder where the system allows so long a path, else in a short one."""
    path = folder.absolute() / "chain.ipc"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    short = Path(tempfile.gettempdir(), f"swarm-devnet-{os.getuid()}")
    short.mkdir(mode=0o700, exist_ok=True)
    return short / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.ipc"
