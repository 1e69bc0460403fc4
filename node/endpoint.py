"""A site's own Ethereum node: connected to, and held against what the site expects of it."""

from ledger import rpc
from ledger.client import Ledger
from ledger.rpc import NodeRpc
from node.config import NodeConfig
from node.errors import ConfigurationError

DEVELOPMENT_CLIENTS = ("anvil", "hardhat", "ganache", "ethereumtester")


def connect(config: NodeConfig) -> NodeRpc:
    """Make the RPC of the configured node; nothing is sent yet. Raises ConfigurationError."""
    try:
        return rpc.connect(config.rpc)
    except ValueError as error:
        raise ConfigurationError(f"config.toml: rpc: {error}") from None


def check(ledger: Ledger, config: NodeConfig) -> None:
    """Refuse another chain than the deployment's, and a development chain that was not asked for."""
    ledger.check()
    check_kind(ledger.client_version(), config)


def check_kind(client_version: str, config: NodeConfig) -> None:
    """Refuse a development chain that was not asked for; raises ConfigurationError."""
    if is_development_chain(client_version) and not config.dev:
        raise ConfigurationError(
            "this is a development chain: one party's machine, which can rewrite its history. "
            "Set dev = true in config.toml to run on it all the same"
        )


def is_development_chain(client_version: str) -> bool:
    """Whether a node's client is one that its operator can rewrite at will."""
    return client_version.lower().startswith(DEVELOPMENT_CLIENTS)
