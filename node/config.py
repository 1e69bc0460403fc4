"""A site's configuration file and the folders around it.

A site lives in one folder:

    config.toml      this configuration
    keystore.json    the site's encrypted key
    deployment.json  which chain and contracts (same file at every site)
    api/             secret and register of the HTTP interface's tokens
    logs/            the node's log, bounded
    paused.json      there while the site is paused
    blobs/           updates and models by hash
    studies/ID/      what this site must remember of a study, its models and results
"""

import tomllib
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from node.errors import ConfigurationError

MAX_CONFIG_BYTES = 64 * 1024
API_LISTEN = "127.0.0.1:8630"

PATH_FIELDS = ("path", "test_path")
"""Fields of data sources that are paths."""

DATA_HINT = """
# What this site trains on; paths start from this file's folder:
# [data]
# source = "csv"
# path = "patients.csv"
"""

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ApiConfig(BaseModel):
    """The operator's HTTP interface; paths are relative to the site's folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    listen: str = Field(default=API_LISTEN, max_length=256, description="host:port; an IPv6 address in brackets.")
    certificate: Path | None = Field(default=None, description="TLS certificate chain in PEM.")
    private_key: Path | None = Field(default=None, description="The certificate's private key in PEM.")
    min_free_mib: int = Field(default=512, ge=0, le=1 << 40, description="Less free disk is unhealthy.")
    stale_head_seconds: float = Field(
        default=120, gt=0, le=1 << 31, description="No new block for longer is unhealthy; not on a development chain."
    )

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host, without brackets, and port."""
        host, _, port = self.listen.rpartition(":")
        return host.removeprefix("[").removesuffix("]"), int(port)

    @property
    def is_local(self) -> bool:
        """Whether no other machine can reach it."""
        host, _ = self.endpoint
        return host == "localhost" or _is_loopback(host)

    @field_validator("listen")
    @classmethod
    def _is_endpoint(cls, text: str) -> str:
        host, colon, port = text.rpartition(":")
        if not colon or not host or not port.isdecimal() or int(port) > 65_535 or (":" in host and host[0] != "["):
            raise ValueError(f"{text!r} is not host:port, such as {API_LISTEN} or [::1]:8630")
        return text

    @model_validator(mode="after")
    def _has_tls_elsewhere(self) -> Self:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key go together")
        if self.certificate is None and not self.is_local:
            raise ValueError(f"{self.listen} is open to other machines: set certificate and private_key, for TLS")
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class NodeConfig(BaseModel):
    """What an operator sets. Relative paths are relative to the site's folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=64, description="The site's name, a label only.")
    rpc: str = Field(min_length=1, max_length=2048, description="My Ethereum node: http(s)://... or ipc:///path.")
    listen: str = Field(default="/ip4/127.0.0.1/tcp/0", max_length=256, description="Multiaddr to listen on.")
    announce: list[str] = Field(
        default=[], max_length=8, description="Multiaddrs to publish instead of the listening ones."
    )
    password_file: Path | None = Field(
        default=None, description="File with the keystore's password; else $SWARM_PASSWORD."
    )
    data: dict[str, Any] = Field(default={}, description="The local data source; see the studies' documentation.")
    accept: list[Hash] = Field(
        default=[],
        max_length=256,
        description="Specification hashes that this site's operator has inspected and agreed to.",
    )
    worker: list[str] = Field(
        default=[], max_length=64, description="Command of the training process, instead of this program's own."
    )
    dev: bool = Field(default=False, description="Run on a development chain, which is one party's machine.")
    api: ApiConfig | None = Field(default=None, description="The operator's HTTP interface; off where it isn't there.")
    poll_seconds: float = Field(default=0.25, ge=0.005, le=60, description="How often to ask for new blocks.")

    def password_at(self, home: Path) -> Path | None:
        """The password file, made to start from the site's folder."""
        return home / self.password_file if self.password_file is not None else None

    def data_at(self, home: Path) -> dict[str, Any]:
        """The data source with its relative paths made to start from the site's folder."""
        return located(self.data, home)


def located(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Give a data source with its relative paths made to start from a folder."""
    return {
        name: str(folder / value) if name in PATH_FIELDS and isinstance(value, str) else value
        for name, value in data.items()
    }


def load(home: Path) -> NodeConfig:
    """Read and validate the configuration of a site's folder; raises ConfigurationError naming the field."""
    path = home / "config.toml"
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigurationError(f"{path} is larger than {MAX_CONFIG_BYTES} bytes")
        record = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"can't read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from None
    return validate(record, str(path))


def validate(record: dict[str, Any], origin: str) -> NodeConfig:
    """Validate a configuration; `origin` names it in errors."""
    try:
        return NodeConfig.model_validate(record)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(str(p) for p in fault['loc'])}: {fault['msg']}" for fault in error.errors())
        raise ConfigurationError(f"{origin}: {faults}") from None


def render(config: NodeConfig) -> bytes:
    """The configuration as TOML: what differs from the defaults, and how to name data where there is none."""
    import tomli_w

    record = config.model_dump(mode="json", exclude_defaults=True)
    if config.api is not None:
        record["api"] = {"listen": config.api.listen, **record["api"]}  # said, where an operator may want to change it
    text = tomli_w.dumps(record)
    return (text if config.data else text + DATA_HINT).encode()
