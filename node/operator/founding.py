"""How a site and a consortium begin: a folder with a key, and the contracts on a chain."""

import secrets
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.account import Account
from ledger.deployment import Deployment, deploy
from ledger.types import Founder
from node import config as configuration
from node import endpoint, identity
from node.errors import OperatorError
from node.files import write_atomically
from node.site_folder import SiteFolder

SOURCES = {".csv": "csv", ".npz": "npz", ".parquet": "parquet"}
PASSWORD_FILE = "password"  # noqa: S105 - its name, not its content


@dataclass(frozen=True, slots=True)
class NewSite:
    """What `init` was told. `password` is the keystore's; None makes one up and keeps it in a file beside the key."""

    home: Path
    settings: Mapping[str, Any]
    password: str | None
    deployment: Path | None = None
    scrypt_rounds: int = identity.SCRYPT_ROUNDS


def init_site(new: NewSite) -> dict[str, Any]:
    """Make a site's folder: key, configuration, and the consortium's deployment file where there is one already.

    Nothing that exists is overwritten. Raises ConfigurationError, IdentityError, DeploymentInvalid or OperatorError.
    """
    folder = SiteFolder(new.home.absolute())
    for file in (folder.config, folder.keystore):
        if file.exists():
            raise OperatorError(f"{file} exists: this folder is a site's already; nothing was changed")
    deployment = Deployment.load(new.deployment) if new.deployment is not None else None
    settings = dict(new.settings)
    if new.password is None:
        settings["password_file"] = PASSWORD_FILE
    config = configuration.validate(settings, "init")
    password = new.password if new.password is not None else secrets.token_urlsafe(24)
    if new.password is None:
        write_atomically(folder.home / PASSWORD_FILE, password.encode(), mode=0o600)
    me = identity.create(folder.keystore, password, scrypt_rounds=new.scrypt_rounds)
    if deployment is not None:
        deployment.save(folder.deployment)
    write_atomically(folder.config, configuration.render(config), mode=0o600)  # an address may hold a password
    return {
        "home": str(folder.home),
        "name": config.name,
        "address": me.address,
        "data": dict(config.data),
        "deployment": deployment is not None,
        "password_file": str(folder.home / config.password_file) if config.password_file is not None else None,
    }


def data_source(path: Path) -> dict[str, Any]:
    """The data source that a file or folder is, by its name; raises OperatorError for a kind that isn't known."""
    source = "images" if path.is_dir() else SOURCES.get(path.suffix.lower())
    if source is None:
        known = ", ".join(SOURCES)
        raise OperatorError(f"{path}: a data file's name ends with {known}; or name a folder of images")
    if not path.exists():
        raise OperatorError(f"{path} isn't there")
    return {"source": source, "path": str(path.absolute())}


def found(home: Path, others: Mapping[str, str], *, quorum_bps: int, motion_seconds: int) -> dict[str, Any]:
    """Put a new consortium's contracts on the chain, this site first among its founders.

    `others` are the other founders' accounts by name. The deployment file is then what every site needs. Raises what
    the chain and the contracts raise, and OperatorError where this site has a deployment already.
    """
    folder = SiteFolder(home.absolute())
    if folder.deployment.exists():
        raise OperatorError(f"{folder.deployment} exists: this site belongs to a consortium already")
    config = configuration.load(folder.home)
    me = identity.unlock(folder.keystore, config.password_at(folder.home))
    founders = [Founder(me.address, config.name), *(Founder(account, name) for name, account in others.items())]
    with closing(endpoint.connect(config, folder.home)) as rpc:
        endpoint.check_kind(str(rpc.call("web3_clientVersion")), config)
        deployment = deploy(rpc, Account(me.key), founders, quorum_bps=quorum_bps, motion_seconds=motion_seconds)
    deployment.save(folder.deployment)
    return {
        "deployment": str(folder.deployment),
        "chain_id": deployment.chain_id,
        "contracts": {"consortium": deployment.consortium, "study": deployment.study},
        "founders": [{"name": founder.name, "address": founder.account} for founder in founders],
        "quorum_bps": quorum_bps,
        "motion_seconds": motion_seconds,
    }


def adopt_deployment(home: Path, file: Path) -> None:
    """Take the deployment file that another site handed over; raises OperatorError where this site has another one."""
    folder = SiteFolder(home.absolute())
    given = Deployment.load(file)
    if folder.deployment.exists():
        if Deployment.load(folder.deployment) != given:
            raise OperatorError(f"{folder.deployment} is another consortium's; a site belongs to one")
        return
    given.save(folder.deployment)
