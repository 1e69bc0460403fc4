"""All files of a chain by their path below one folder, the same bytes at every hospital."""

import hashlib
from collections.abc import Mapping
from typing import Final

from ledger.qbft.besu import options_file, permissions, static_nodes
from ledger.qbft.chain import Chain
from ledger.qbft.genesis import genesis_file

GENESIS: Final = "genesis.json"
CHECKSUMS: Final = "SHA256SUMS"


def chain_files(chain: Chain) -> dict[str, bytes]:
    """Make genesis.json and, in a folder named for each validator, what its Besu reads. No key is among them.

    SHA256SUMS covers all of them, as `sha256sum --check` reads it.
    """
    files = {GENESIS: genesis_file(chain)}
    for validator in sorted(chain.validators, key=lambda validator: validator.name):
        files[f"{validator.name}/static-nodes.json"] = static_nodes(chain, validator)
        files[f"{validator.name}/permissions_config.toml"] = permissions(chain)
        files[f"{validator.name}/config.toml"] = options_file(chain, validator)
    return {**files, CHECKSUMS: _checksums(files)}


def fingerprint(chain: Chain) -> str:
    """The SHA-256 of SHA256SUMS: what hospitals read to each other to see that they made the same files."""
    return hashlib.sha256(chain_files(chain)[CHECKSUMS]).hexdigest()


def _checksums(files: Mapping[str, bytes]) -> bytes:
    lines = (f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items()))
    return "".join(lines).encode()
