"""The embedded development chain: one party's machine, for development and rehearsal. It is nobody's real ledger.

    clients -> gate (two sockets, no method that rewrites a chain) -> chain (journal, then mine) -> anvil

Whatever is killed, at whatever instant, the chain comes back with the same blocks, hash by hash, and with every
transaction that anybody saw a receipt of. What remains: a transaction that was sent and not yet acknowledged may or may
not be in it, so its sender sends the same bytes again; a power cut loses nothing where the disk honours fdatasync; and
coming back takes as long as executing everything again: ten seconds for a thousand rounds.
"""

from ledger.devnet.anvil import cache_folder, find_anvil, install
from ledger.devnet.devnet import CHAIN_ID, Devnet

__all__ = ["CHAIN_ID", "Devnet", "cache_folder", "find_anvil", "install"]
