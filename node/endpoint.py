"""A site's own Ethereum node: connected to, and held against what the site expects of it."""

import re
import ssl
import stat
import time
from pathlib import Path

from ledger import rpc
from ledger.client import Ledger
from ledger.failover import Endpoints
from ledger.rpc import NodeRpc
from ledger.transport import basic
from ledger.types import Block
from node import log
from node.config import NodeConfig, RpcEndpoint
from node.errors import ConfigurationError

DEVELOPMENT_CLIENTS = ("anvil", "hardhat", "ganache", "ethereumtester")
MAX_CREDENTIALS_BYTES = 4096
_BEARER = re.compile(r"Bearer +([\x21-\x7e]+)")


def connect(config: NodeConfig, home: Path) -> Endpoints:
    """Make the RPC of the configured nodes; nothing is sent yet. Raises ConfigurationError."""
    return Endpoints([_node(one, config.rpc_seconds) for one in config.endpoints_at(home)], _note_switch)


def _node(one: RpcEndpoint, seconds: float) -> NodeRpc:
    authorization = _authorization(one.credentials_file) if one.credentials_file is not None else None
    context = _trust(one.ca_file) if one.ca_file is not None else None
    try:
        return rpc.connect(one.url, timeout=seconds, authorization=authorization, context=context)
    except ValueError as error:
        raise ConfigurationError(f"config.toml: rpc: {error}") from None


def _note_switch(to: str, why: str) -> None:
    log.get().warning("rpc_switched", to=to, reason=why)


def _authorization(path: Path) -> str:
    """Read the value of an Authorization header; what is in the file appears in no message."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise ConfigurationError(f"others on this machine may read {path}; chmod 600 it")
        with path.open("rb") as file:
            text = file.read(MAX_CREDENTIALS_BYTES).decode().strip()
    except OSError as error:
        raise ConfigurationError(f"can't read the RPC credentials in {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        text = ""
    if (bearer := _BEARER.fullmatch(text)) is not None:
        return f"Bearer {bearer[1]}"
    if ":" in text and text.isprintable():
        return basic(text)
    raise ConfigurationError(f"{path} must hold one line: user:password, or Bearer and a token")


def _trust(path: Path) -> ssl.SSLContext:
    """Make a context that trusts the certificates of a file, and no others."""
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:  # also ssl.SSLError: a file without certificates
        raise ConfigurationError(f"can't read the certificates in {path}: {error.strerror or error}") from None


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


def behind(tip: Block | None, config: NodeConfig) -> str:
    """Say in a sentence that the newest block is too old, by this machine's clock; empty where it is not."""
    age = time.time() - tip.timestamp if tip is not None else 0.0
    if age < config.rpc_head_seconds:
        return ""
    return (
        f"its newest block is {age:.0f} s old by this machine's clock: the chain's node is behind, the chain stands "
        "still, or the clock is wrong"
    )


def is_development_chain(client_version: str) -> bool:
    """Whether a node's client is one that its operator can rewrite at will."""
    return client_version.lower().startswith(DEVELOPMENT_CLIENTS)
