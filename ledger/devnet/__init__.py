"""The embedded development chain: one party's machine, for development and rehearsal. It is nobody's real ledger."""

from ledger.devnet.anvil import cache_folder, find_anvil, install
from ledger.devnet.devnet import CHAIN_ID, Devnet

__all__ = ["CHAIN_ID", "Devnet", "cache_folder", "find_anvil", "install"]
