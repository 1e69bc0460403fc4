"""Sites' folders on one chain, and `swarm-node` as their operators type it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from ledger.devnet import Devnet
from node.cli import main
from node.operator.founding import NewSite, init_site

NAMES = ("ada", "bea", "cleo")
QUICK_SCRYPT = 2


def swarm_node(*arguments: object) -> Result:
    """Run a command in this process, where nobody can be asked."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def envelope(*arguments: object) -> tuple[int, dict[str, Any]]:
    """Run a command with --json; gives its exit code and its envelope."""
    result = swarm_node(*arguments, "--json")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    answer = json.loads(result.stdout.splitlines()[-1])
    assert (answer["schema"], answer["status"] == "ok") == (1, result.exit_code == 0)
    return result.exit_code, answer


def done(*arguments: object) -> dict[str, Any]:
    """Run a command with --json that must succeed; gives its data."""
    code, answer = envelope(*arguments)
    assert code == 0, answer
    data: dict[str, Any] = answer["data"]
    return data


def refused(*arguments: object) -> tuple[str, str]:
    """Run a command with --json that must fail; gives its code and message."""
    code, answer = envelope(*arguments)
    assert code in (1, 2), answer
    return answer["code"], answer["data"]["message"]


@dataclass(frozen=True)
class World:
    """A chain, and a folder for each site."""

    devnet: Devnet
    folder: Path

    def home(self, name: str) -> Path:
        return self.folder / name

    def new_site(self, name: str, *, shard: int = 0, shards: int = len(NAMES)) -> str:
        """Make a site's folder with a quick keystore; gives its account."""
        data = {"source": "breast-cancer", "shard": shard, "shards": shards}
        settings = {"name": name, "rpc": self.devnet.ipc, "listen": "/ip4/127.0.0.1/tcp/0", "dev": True, "data": data}
        made = init_site(NewSite(self.home(name), settings, None, scrypt_rounds=QUICK_SCRYPT))
        return str(made["address"])

    def found(self, *names: str, **options: object) -> None:
        """Make these sites the founders of a consortium; the first one's operator does it."""
        accounts = {name: self.new_site(name, shard=shard) for shard, name in enumerate(names)}
        founders = [option for name in names[1:] for option in ("--founder", f"{name}={accounts[name]}")]
        extra = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
        done("found", "--home", self.home(names[0]), *founders, *extra)
        for name in names[1:]:
            assert done("join", "--home", self.home(name), "--deployment", self.deployment)["member"]

    @property
    def deployment(self) -> Path:
        return self.home(NAMES[0]) / "deployment.json"
