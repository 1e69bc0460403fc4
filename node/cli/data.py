"""`swarm-node data`: data sets."""

from pathlib import Path

import click

from node.cli.envelope import conclude
from node.cli.options import PATH, json_option


@click.group()
def data() -> None:
    """Fetch and look at data sets."""


@data.command("get")
@click.argument("name", type=click.Choice(["heart-disease"]))
@click.option("--path", type=PATH, default=Path("data"), show_default=True, help="Folder for the files.")
@json_option
def data_get(name: str, path: Path, as_json: bool) -> None:
    """Download a public data set from its true source, checked against pinned hashes.

    Example: swarm-node data get heart-disease --path data
    """

    def command() -> dict[str, object]:
        from swarm.data.fetch import get

        files = get(name, path)
        for file in files:
            click.echo(str(file), err=as_json)
        return {"files": [str(file) for file in files]}

    conclude(command, as_json=as_json)


@data.command("check")
@click.option("--study", required=True, metavar="FILE|NAME", help="A study's TOML file, or a built-in study's name.")
@click.option("--home", type=PATH, envvar="SWARM_HOME", show_envvar=True, help="The site's folder, with config.toml.")
@click.option("--source", type=PATH, metavar="FILE", help="A data source in JSON or TOML, instead of the site's own.")
@json_option
def data_check(study: str, home: Path | None, source: Path | None, as_json: bool) -> None:
    """Say everything about a site's data that doesn't fit a study, and what there is. Nothing leaves this machine.

    What is shown is about patients: single values that don't fit, and minimum, median and maximum of each feature.
    Exit code 0 says that the data fits, 1 that it doesn't.

    Example: swarm-node data check --study breast-cancer --home /var/lib/swarm
    """

    def command() -> dict[str, object]:
        from rich.console import Console

        from node.data_check import check_data

        return check_data(study, home=home, source=source, console=Console(stderr=as_json))

    conclude(command, as_json=as_json)
