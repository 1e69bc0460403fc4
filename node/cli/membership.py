"""`swarm-node init`, `found`, `join`, `members`, `vote`, `leave` and `remove`: a site and its consortium."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from node.cli import tables
from node.cli.envelope import conclude
from node.cli.options import PATH, home_option, json_option, tell, yes_option

DAY = 86_400


@click.command()
@home_option
@click.option("--name", help="The site's name, a label that the others see; asked for where it is not given.")
@click.option("--rpc", help="My Ethereum node: http(s)://host:port or ipc:///path; asked for where it is not given.")
@click.option(
    "--listen", default="/ip4/0.0.0.0/tcp/4001", show_default=True, help="Multiaddr on which the others dial this site."
)
@click.option("--announce", multiple=True, help="Multiaddr to publish instead, as seen from outside; may be repeated.")
@click.option("--data", type=PATH, help="What to train on: a .csv, .npz or .parquet file, or a folder of images.")
@click.option("--deployment", type=PATH, help="The consortium's deployment file, from one of its sites.")
@click.option("--password-file", type=PATH, help="File with the keystore's password, which stays where it is.")
@click.option("--generate-password", is_flag=True, help="Make a password up and keep it beside the key.")
@click.option(
    "--api", default="127.0.0.1:8630", show_default=True, help="host:port of the operator's HTTP interface, or off."
)
@click.option("--dev", is_flag=True, help="Allow a development chain: one party's machine.")
@json_option
def init(
    home: Path,
    name: str | None,
    rpc: str | None,
    listen: str,
    announce: tuple[str, ...],
    data: Path | None,
    deployment: Path | None,
    password_file: Path | None,
    generate_password: bool,
    api: str,
    dev: bool,
    as_json: bool,
) -> None:
    """Make a site's folder: its key, encrypted, and its configuration.

    The password of the key comes from --password-file, from $SWARM_PASSWORD, or is asked for; --generate-password
    makes one up and keeps it in the folder, which is as good as no password against whoever reads the folder.

    Example: swarm-node init --home site --name "Lübeck" --rpc http://127.0.0.1:8545 --deployment deployment.json
    """

    def command() -> dict[str, Any]:
        from node.operator.founding import NewSite, data_source, init_site

        settings: dict[str, Any] = {
            "name": name or _ask("The site's name", "--name"),
            "rpc": rpc or _ask("The address of this site's Ethereum node", "--rpc"),
            "listen": listen,
            "announce": list(announce),
            "dev": dev,
        }
        if api != "off":
            settings["api"] = {"listen": api}
        if data is not None:
            settings["data"] = data_source(data)
        if password_file is not None:
            settings["password_file"] = str(password_file.absolute())
        password = None if generate_password else _password(password_file)
        return init_site(NewSite(home, settings, password, deployment))

    def show(data: dict[str, Any]) -> None:
        click.echo(f"{data['name']} is set up in {data['home']}; its account is {data['address']}")
        if not data["data"]:
            click.echo(f"say under [data] in {data['home']}/config.toml what it trains on")
        click.echo(f"next: swarm-node {'join' if data['deployment'] else 'join --deployment FILE, or found'}")

    conclude(command, as_json=as_json, show=show)


def _ask(what: str, option: str) -> str:
    from node.errors import ConfigurationError

    if not sys.stdin.isatty():
        raise ConfigurationError(f"{option} is needed, since nobody can be asked here")
    return str(click.prompt(what, err=True))


def _password(file: Path | None) -> str:
    from node import identity
    from node.errors import ConfigurationError

    if file is not None or "SWARM_PASSWORD" in os.environ:
        return identity.read_password(file)
    if not sys.stdin.isatty():
        raise ConfigurationError("give --password-file, set SWARM_PASSWORD, or use --generate-password")
    return str(click.prompt("A password for the key", hide_input=True, confirmation_prompt=True, err=True))


@click.command()
@home_option
@click.option("--founder", "founders", multiple=True, metavar="NAME=ADDRESS", help="Another founding site; repeat it.")
@click.option(
    "--quorum", type=click.FloatRange(0.5, 1, min_open=True), default=0.6667, show_default=True, help="Share of votes."
)
@click.option("--motion-days", type=click.FloatRange(0.001, 365), default=7, show_default=True, help="Time to vote.")
@json_option
def found(home: Path, founders: tuple[str, ...], quorum: float, motion_days: float, as_json: bool) -> None:
    """Found a consortium: put its contracts on the chain, with this site and others as its first members.

    Example: swarm-node found --home site --founder Kiel=0x52908400098527886E0F7030069857D2E4169EE7
    """

    def command() -> dict[str, Any]:
        from node.operator.founding import found as found_consortium

        others = _founders(founders)
        return found_consortium(
            home, others, quorum_bps=round(quorum * 10_000), motion_seconds=round(motion_days * DAY)
        )

    def show(data: dict[str, Any]) -> None:
        names = ", ".join(founder["name"] for founder in data["founders"])
        click.echo(f"the consortium of {names} is at {data['contracts']['consortium']}, chain {data['chain_id']}")
        click.echo(f"hand {data['deployment']} to every other site; it holds no secret")

    conclude(command, as_json=as_json, show=show)


def _founders(options: tuple[str, ...]) -> dict[str, str]:
    from ledger.abi import normalise_address
    from node.errors import ConfigurationError

    found: dict[str, str] = {}
    for option in options:
        name, _, address = option.rpartition("=")
        try:
            account = normalise_address(address)
        except ValueError:
            account = ""
        if not name or not account or name in found:
            raise ConfigurationError(f"--founder {option!r}: expected NAME=ADDRESS, each name once")
        found[name] = account
    return found


@click.command()
@home_option
@click.option("--deployment", type=PATH, help="The consortium's deployment file, where `init` was not given it.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until the members have decided.")
@json_option
def join(home: Path, deployment: Path | None, wait: bool, as_json: bool) -> None:
    """Apply for membership, and wait until the members have voted.

    Example: swarm-node join --home site
    """

    def command() -> dict[str, Any]:
        from node.operator.desk import open_desk
        from node.operator.founding import adopt_deployment
        from node.operator.membership import join as apply

        if deployment is not None:
            adopt_deployment(home, deployment)
        with open_desk(home, signing=True) as desk:
            return apply(desk, wait=wait, tell=tell)

    def show(data: dict[str, Any]) -> None:
        if data["member"]:
            click.echo("this site is a member; next: swarm-node study list")
        else:
            click.echo(f"motion {data['motion']} is open; `swarm-node members` shows how it stands")

    conclude(command, as_json=as_json, show=show)


@click.command()
@home_option
@json_option
def members(home: Path, as_json: bool) -> None:
    """Show the members, and what is being voted on.

    Example: swarm-node members --home site
    """

    def command() -> dict[str, Any]:
        from node.operator.desk import open_desk
        from node.operator.membership import members as listing

        with open_desk(home, signing=False) as desk:
            return listing(desk)

    conclude(command, as_json=as_json, show=tables.members)


@click.command()
@home_option
@click.argument("motion", type=click.IntRange(1))
@click.option("--approve/--refuse", required=True, default=None, help="What this site votes.")
@json_option
def vote(home: Path, motion: int, approve: bool, as_json: bool) -> None:
    """Vote on a motion: whether a site is admitted, or removed.

    Example: swarm-node vote --home site 3 --approve
    """

    def command() -> dict[str, Any]:
        from node.operator.desk import open_desk
        from node.operator.membership import vote as cast

        with open_desk(home, signing=True) as desk:
            return cast(desk, motion, approve=approve)

    conclude(command, as_json=as_json, show=tables.motion_in_words)


@click.command()
@home_option
@yes_option
@json_option
def leave(home: Path, yes: bool, as_json: bool) -> None:
    """Leave the consortium, and with it every study; coming back needs the members' vote.

    Example: swarm-node leave --home site
    """

    def command() -> dict[str, Any]:
        from node.cli.options import confirm
        from node.operator.desk import open_desk
        from node.operator.membership import leave as go

        with open_desk(home, signing=True) as desk:
            confirm(f"{desk.config.name} leaves the consortium and all of its studies?", yes)
            return go(desk)

    conclude(command, as_json=as_json, show=lambda data: click.echo(f"{data['address']} is no member any more"))


@click.command()
@home_option
@click.argument("site")
@click.option("--reason", required=True, help="Why; everybody can read it, for ever.")
@json_option
def remove(home: Path, site: str, reason: str, as_json: bool) -> None:
    """Ask the members to remove a site, by its name or address; this site's approval is counted.

    Example: swarm-node remove --home site Kiel --reason "its key was stolen"
    """

    def command() -> dict[str, Any]:
        from node.operator.desk import open_desk
        from node.operator.membership import propose_removal

        with open_desk(home, signing=True) as desk:
            return propose_removal(desk, site, reason)

    conclude(command, as_json=as_json, show=tables.motion_in_words)
