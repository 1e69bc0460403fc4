"""`swarm-node token`: tokens for the site's HTTP interface."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.envelope import conclude
from node.cli.options import home_option, json_option

if TYPE_CHECKING:
    from node.api.tokens import TokenBook


@click.group()
def token() -> None:
    """Make, list and revoke tokens for this site's HTTP interface."""


@token.command("new")
@home_option
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(["read", "consent", "control"]),
    multiple=True,
    default=["read"],
    show_default=True,
    help="What it is for; every token may read. May be repeated.",
)
@click.option("--days", type=click.FloatRange(0.001, 3660), default=90, show_default=True, help="How long it is valid.")
@click.option("--name", default="", help="A label, to tell tokens apart.")
@json_option
def token_new(home: Path, scopes: tuple[str, ...], days: float, name: str, as_json: bool) -> None:
    """Make a token and print it, once: it is kept nowhere. `consent` answers studies, `control` pauses and stops.

    Example: swarm-node token new --home site --scope read --days 90 --name prometheus
    """

    def command() -> dict[str, Any]:
        from node.api.tokens import Scope, described

        made, record = _book(home).issue([Scope(scope) for scope in scopes], days=days, name=name[:64])
        return {**described(record), "token": made}

    def show(data: dict[str, Any]) -> None:
        click.echo(data["token"])
        until = _when(data["expires"])
        click.echo(f"token {data['id']} for {', '.join(data['scopes'])}, valid until {until}; keep it secret", err=True)

    conclude(command, as_json=as_json, show=show)


@token.command("list")
@home_option
@json_option
def token_list(home: Path, as_json: bool) -> None:
    """Show the tokens of this site: number, name, scopes, expiry and state; never the tokens themselves.

    Example: swarm-node token list --home site
    """

    def command() -> dict[str, Any]:
        from node.api.tokens import described

        return {"tokens": [described(record) for record in _book(home).listing()]}

    def show(data: dict[str, Any]) -> None:
        for one in data["tokens"]:
            scopes = ",".join(one["scopes"])
            click.echo(f"{one['id']}  {one['state']:<7}  {scopes:<20}  until {_when(one['expires'])}  {one['name']}")
        if not data["tokens"]:
            click.echo("no tokens")

    conclude(command, as_json=as_json, show=show)


@token.command("revoke")
@home_option
@click.argument("number")
@json_option
def token_revoke(home: Path, number: str, as_json: bool) -> None:
    """Revoke a token by its number (four digits or more of it); a running node refuses it from now on.

    Example: swarm-node token revoke --home site 3f9a
    """

    def command() -> dict[str, Any]:
        from node.api.tokens import described

        return described(_book(home).revoke(number))

    conclude(command, as_json=as_json, show=lambda data: click.echo(f"token {data['id']} is revoked"))


def _book(home: Path) -> "TokenBook":
    """The tokens of the site in a folder; raises ConfigurationError or IdentityError where it is no site's."""
    from node import config as configuration
    from node import identity
    from node.api.tokens import TokenBook
    from node.site_folder import SiteFolder

    folder = SiteFolder(home.absolute())
    configuration.load(folder.home)
    return TokenBook(folder.api, identity.address_of(folder.keystore))


def _when(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M UTC")
