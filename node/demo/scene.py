"""Setting a swarm up on this machine: keys, folders, contracts and a proposed study."""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ledger.account import Account
from ledger.client import Ledger
from ledger.deployment import Deployment, deploy
from ledger.rpc import connect
from ledger.types import Founder, Terms
from node import config, identity
from node.config import NodeConfig
from node.files import write_atomically
from node.identity import Identity
from node.site_folder import SiteFolder
from swarm.spec import StudySpec

QUORUM_BPS = 6667
MOTION_SECONDS = 7 * 24 * 3600
SCRYPT_ROUNDS = 1 << 12
"""Cheap: the keys of a demo guard nothing, and every site decrypts one when it starts."""
POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class SitePlan:
    """One site of the scene: its name, its data source, and what else its configuration holds."""

    name: str
    data: Mapping[str, Any]
    config: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """A consortium whose sites are ready to be started, with one study proposed."""

    deployment: Deployment
    study: int
    homes: tuple[Path, ...]


def set_up(out: Path, rpc_url: str, spec: StudySpec, plans: Sequence[SitePlan]) -> Scene:
    """Make keys and folders, deploy the contracts with the sites as founders, and propose the study.

    `spec` is complete: it names its initial model. Every site's configuration agrees to exactly this specification.
    """
    deployment, proposer, homes = found(out, rpc_url, plans, accept=[spec.hash])
    with closing(connect(rpc_url)) as rpc:
        study, _ = Ledger(rpc, deployment, proposer).propose(spec.canonical(), Terms(**asdict(spec.terms())))
    return Scene(deployment, study, homes)


def found(
    out: Path, rpc_url: str, plans: Sequence[SitePlan], *, accept: Sequence[bytes] = ()
) -> tuple[Deployment, Account, tuple[Path, ...]]:
    """Make keys and folders, and deploy the contracts with the sites as founders; gives the first site's account too.

    `accept` are the specification hashes that every site's configuration agrees to.
    """
    homes = tuple(out / "sites" / plan.name for plan in plans)
    sites = [_make_site(home) for home in homes]
    founder = Account(sites[0].key)
    founders = [Founder(site.address, plan.name) for site, plan in zip(sites, plans, strict=True)]
    with closing(connect(rpc_url)) as rpc:
        deployment = deploy(rpc, founder, founders, quorum_bps=QUORUM_BPS, motion_seconds=MOTION_SECONDS)
    for home, plan in zip(homes, plans, strict=True):
        deployment.save(SiteFolder(home).deployment)
        _write_config(home, plan, rpc_url, accept)
    return deployment, founder, homes


def reopen(out: Path, rpc_url: str, study: int, names: Sequence[str]) -> Scene:
    """Find the scene that an earlier run left, and point its sites to where the chain is now."""
    homes = tuple(out / "sites" / name for name in names)
    for home in homes:
        moved = config.load(home).model_copy(update={"rpc": rpc_url})
        write_atomically(SiteFolder(home).config, config.render(moved))
    return Scene(Deployment.load(SiteFolder(homes[0]).deployment), study, homes)


def with_rounds(spec: StudySpec, rounds: int | None, min_sites: int, seed: int, **limits: int) -> StudySpec:
    """A built-in study with another number of rounds, and the seed, sites and time limits of this run."""
    record = spec.model_dump(mode="json")
    record["training"]["seed"] = seed
    if rounds is not None:
        record["training"]["rounds"] = rounds
    record["round"].update(min_sites=min_sites, **limits)
    return StudySpec.model_validate(record)


def _make_site(home: Path) -> Identity:
    password = secrets.token_urlsafe(24)
    write_atomically(home / "password", password.encode(), mode=0o600)
    return identity.create(SiteFolder(home).keystore, password, scrypt_rounds=SCRYPT_ROUNDS)


def _write_config(home: Path, plan: SitePlan, rpc_url: str, accept: Sequence[bytes]) -> None:
    settings = NodeConfig(
        name=plan.name,
        rpc=rpc_url,
        password_file=Path("password"),
        data=dict(plan.data),
        accept=[spec_hash.hex() for spec_hash in accept],
        dev=True,
        poll_seconds=POLL_SECONDS,
    )
    extended = replace_fields(settings, plan.config or {})
    write_atomically(SiteFolder(home).config, config.render(extended))


def replace_fields(settings: NodeConfig, fields: Mapping[str, Any]) -> NodeConfig:
    """A configuration with some fields set otherwise, validated."""
    return config.validate({**settings.model_dump(mode="json", exclude_none=True), **fields}, "the scene's plan")
