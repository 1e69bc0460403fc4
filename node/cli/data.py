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
