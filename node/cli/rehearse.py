"""`swarm-node rehearse`."""

from pathlib import Path
from typing import Any

import click

from node.cli.envelope import conclude
from node.cli.options import home_option, json_option


@click.command()
@home_option
@click.argument("study")
@click.option("--sites", type=click.IntRange(2, 64), help="Number of sites; as few as the study allows, unless given.")
@json_option
def rehearse(home: Path, study: str, sites: int | None, as_json: bool) -> None:
    """Run a whole study on this machine, with this site's data, among stand-in sites on a chain of their own.

    STUDY is a study's number on the ledger, or a TOML file. Nothing leaves this machine, and nothing is written to
    the consortium. The stand-ins train on copies of this site's data, so the model is worth nothing.

    Example: swarm-node rehearse --home site 2
    """

    def command() -> dict[str, Any]:
        from node import config as configuration
        from node.demo.rehearsal import rehearse as play
        from node.operator.studies import find
        from node.site_folder import SiteFolder

        folder = SiteFolder(home.absolute())
        return play(folder, configuration.load(folder.home), find(folder.home, study), sites=sites)

    def show(data: dict[str, Any]) -> None:
        pace = data["seconds_per_round"]
        click.echo(f"{data['name']} ran to its end: {data['rounds']} rounds with {data['sites']} sites")
        if pace is not None:
            click.echo(f"a round took {pace['mean']:.2f} s, the longest {pace['longest']:.2f} s")
        for name, value in (data["metrics"] or {}).items():
            if isinstance(value, float):
                click.echo(f"  {name.replace('_', ' ')} on this site's test data: {value:.3f}")

    conclude(command, as_json=as_json, show=show)
