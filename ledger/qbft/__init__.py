"""A consortium's own chain: the files for Hyperledger Besu with QBFT consensus, one validator at each hospital.

    validators' public keys, hosts, chain id -> Chain -> genesis.json, and for each validator what its Besu reads

Everything is a pure function of what the hospitals tell each other, in whatever order: each hospital makes the same
bytes from the same public facts, and compares one hash. Nobody needs anybody's private key.
"""

from ledger.qbft.chain import MIN_TO_SURVIVE_ONE, Chain
from ledger.qbft.files import GENESIS, chain_files, fingerprint
from ledger.qbft.keys import NodeKey, PublicKey
from ledger.qbft.validator import P2P_PORT, Validator

__all__ = [
    "GENESIS",
    "MIN_TO_SURVIVE_ONE",
    "P2P_PORT",
    "Chain",
    "NodeKey",
    "PublicKey",
    "Validator",
    "chain_files",
    "fingerprint",
]
