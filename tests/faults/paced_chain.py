"""A bare anvil that makes a block every few seconds, as a consortium's chain does; nothing is mined in between."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ledger.devnet.anvil import Anvil, find_anvil
from ledger.errors import RpcError
from ledger.rpc import connect


@dataclass(frozen=True)
class PacedChain:
    """Where it is."""

    ipc: str


@contextmanager
def paced_chain(folder: Path, block_seconds: int) -> Iterator[PacedChain]:
    folder.mkdir(parents=True, exist_ok=True)
    ipc = folder / "anvil.ipc"
    arguments = [
        *("--host", "127.0.0.1", "--port", "0", "--no-cors", "--quiet", "--ipc", str(ipc), "--chain-id", "4712"),
        *("--block-time", str(block_seconds), "--order", "fifo", "--accounts", "0", "--base-fee", "0"),
        *("--gas-price", "0", "--hardfork", "cancun", "--prune-history"),
    ]
    anvil = Anvil(find_anvil(), arguments, folder / "anvil.log")
    try:
        with connect(f"ipc://{ipc}") as rpc:
            while True:
                try:
                    rpc.call("eth_blockNumber")
                    break
                except RpcError:
                    if not anvil.is_running():
                        raise
        yield PacedChain(f"ipc://{ipc}")
    finally:
        anvil.kill()
