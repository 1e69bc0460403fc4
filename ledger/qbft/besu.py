"""What one validator's Besu reads: its options, whom it dials, and whom it lets in.

Options are spelled in the file as on Besu's command line, without the dashes; each one is in Besu's documentation
or in its own test of all options.
"""

import json
from collections.abc import Mapping
from typing import Final

from ledger.qbft.chain import Chain
from ledger.qbft.hosts import as_address
from ledger.qbft.validator import Validator

CONFIG_FOLDER: Final = "/etc/besu"
DATA_FOLDER: Final = "/var/lib/besu"  # never /opt/besu, Besu's own: it doesn't start with a volume there
RPC_PORT: Final = 8545

Value = str | int | bool | list[str]


def static_nodes(chain: Chain, mine: Validator) -> bytes:
    """Give static-nodes.json: every other validator, for Besu to dial again and again."""
    others = [validator.enode for validator in chain.validators if validator != mine]
    return (json.dumps(others, indent=2) + "\n").encode()


def permissions(chain: Chain) -> bytes:
    """Give permissions_config.toml: the nodes to talk to and, where the chain names them, the accounts to serve."""
    lists: dict[str, Value] = {"nodes-allowlist": [validator.enode for validator in chain.validators]}
    if chain.accounts:
        lists["accounts-allowlist"] = [account.lower() for account in chain.accounts]
    return _toml(lists)


def options(chain: Chain, mine: Validator) -> dict[str, Value]:
    """Choose the options of one validator's Besu. What serves programs is bound to this machine only."""
    folder = f"{CONFIG_FOLDER}/{mine.name}"
    return {
        "genesis-file": f"{CONFIG_FOLDER}/genesis.json",
        "network-id": chain.chain_id,
        "data-path": f"{DATA_FOLDER}/{mine.name}",
        "node-private-key-file": f"{folder}/key",
        "profile": "ENTERPRISE",
        "sync-mode": "FULL",
        "data-storage-format": "FOREST",
        "min-gas-price": 0,
        **_network(chain, mine),
        "permissions-nodes-config-file-enabled": True,
        "permissions-nodes-config-file": f"{folder}/permissions_config.toml",
        "permissions-accounts-config-file-enabled": bool(chain.accounts),
        "permissions-accounts-config-file": f"{folder}/permissions_config.toml",
        "rpc-http-enabled": True,
        "rpc-http-host": "127.0.0.1",
        "rpc-http-port": rpc_port(chain, mine),
        "rpc-http-api": ["ETH", "NET", "WEB3", "QBFT"],
        "host-allowlist": ["localhost", "127.0.0.1"],
        "rpc-ws-enabled": False,
        "engine-rpc-enabled": False,
    }


def options_file(chain: Chain, mine: Validator) -> bytes:
    """Give config.toml."""
    return _toml(options(chain, mine))


def rpc_port(chain: Chain, mine: Validator) -> int:
    """The port of a validator's RPC; validators that share a host count up, so that a rehearsal fits one machine."""
    sharing = sorted(validator.name for validator in chain.validators if validator.host == mine.host)
    return RPC_PORT + sharing.index(mine.name)


def _network(chain: Chain, mine: Validator) -> dict[str, Value]:
    found: dict[str, Value] = {
        "discovery-enabled": False,
        "static-nodes-file": f"{CONFIG_FOLDER}/{mine.name}/static-nodes.json",
        "p2p-port": mine.port,
    }
    if as_address(mine.host) is not None:
        found["p2p-host"] = mine.host
    if chain.has_names:
        found |= {"Xdns-enabled": True, "Xdns-update-enabled": True}
    return found


def _toml(values: Mapping[str, Value]) -> bytes:
    # Written here, and not by a library, whose next version might lay it out in other bytes than another hospital's.
    # What is JSON of these types, in ASCII, is TOML too.
    return "".join(f"{key}={json.dumps(value)}\n" for key, value in values.items()).encode()
