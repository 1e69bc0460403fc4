"""`swarm-node pause`, `resume`, `stop`, `health` and `logs`: a site that runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.envelope import conclude
from node.cli.options import PATH, home_option, json_option
from node.printable import printable

if TYPE_CHECKING:
    from node.site_folder import SiteFolder


@click.command()
@home_option
@click.option("--reason", default="", help="Why, for whoever asks later.")
@json_option
def pause(home: Path, reason: str, as_json: bool) -> None:
    """Have this site take no new work: it finishes what others wait for, then neither trains nor commits.

    It stays paused across restarts, until `swarm-node resume`.

    Example: swarm-node pause --home site --reason "new disks"
    """

    def command() -> dict[str, Any]:
        from node.pausing import pause as write

        folder = _folder(home)
        return {**write(folder, reason), "node_running": folder.is_locked()}

    conclude(command, as_json=as_json, show=lambda _: click.echo("paused: this site takes no new work"))


@click.command()
@home_option
@json_option
def resume(home: Path, as_json: bool) -> None:
    """Let a paused site take part again.

    Example: swarm-node resume --home site
    """

    def command() -> dict[str, Any]:
        from node.pausing import resume as write

        folder = _folder(home)
        return {"was_paused": write(folder), "node_running": folder.is_locked()}

    def show(data: dict[str, Any]) -> None:
        click.echo("this site takes part again" if data["was_paused"] else "this site was not paused")

    conclude(command, as_json=as_json, show=show)


@click.command()
@home_option
@click.option(
    "--timeout", type=click.FloatRange(0.1, 86_400), default=60, show_default=True, help="Seconds to wait for its end."
)
@json_option
def stop(home: Path, timeout: float, as_json: bool) -> None:
    """Ask this site's node to stop cleanly, and wait until it has. Done, too, where no node runs.

    Example: swarm-node stop --home site
    """

    def command() -> dict[str, Any]:
        from node.operator.stopping import stop as ask

        return {"was_running": ask(_folder(home), timeout)}

    def show(data: dict[str, Any]) -> None:
        click.echo("the node has stopped" if data["was_running"] else "no node was running")

    conclude(command, as_json=as_json, show=show)


@click.command()
@home_option
@json_option
def health(home: Path, as_json: bool) -> None:
    """Ask this site's node whether it is of use right now, over its HTTP interface; exits with 1 where it is not.

    Example: swarm-node health --home site
    """

    def command() -> dict[str, Any]:
        from node import config as configuration
        from node.operator.health import ask_health

        folder = _folder(home)
        return ask_health(folder, configuration.load(folder.home))

    conclude(command, as_json=as_json, show=lambda _: click.echo("healthy"))


@click.command()
@home_option
@click.option("--file", type=PATH, help="Another log than the site's own, for example one of a container.")
@click.option("--study", type=int, help="Only lines of this study.")
@click.option("--round", "round_number", type=int, help="Only lines of this round.")
@click.option(
    "--level", type=click.Choice(["info", "warning", "error"]), default="info", show_default=True, help="At least this."
)
@click.option("--event", help="Only lines of this event, such as study_refused.")
@click.option(
    "--lines", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most the last so many."
)
@click.option("--follow", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@json_option
def logs(
    home: Path,
    file: Path | None,
    study: int | None,
    round_number: int | None,
    level: str,
    event: str | None,
    lines: int,
    follow: bool,
    as_json: bool,
) -> None:
    """Show what this site's node has logged, the newest last. The node keeps up to 40 MiB in the folder logs/.

    Example: swarm-node logs --home site --study 2 --level warning --follow
    """

    def command() -> dict[str, Any]:
        from node import log
        from node.operator.logs import Wanted, following, in_words, tail

        source = file.absolute() if file is not None else _folder(home).logs / log.FILE_NAME
        wanted = Wanted(study, round_number, level, event)
        records = tail(source, wanted, lines)
        if not as_json or follow:
            for record in records:
                click.echo(printable(in_words(record)), err=as_json)
        if follow:
            for record in following(source, wanted):
                click.echo(printable(in_words(record)), err=as_json)
        return {"file": str(source), "records": records}

    conclude(command, as_json=as_json)


def _folder(home: Path) -> "SiteFolder":
    """The site's folder; raises ConfigurationError where it is no site's."""
    from node import config as configuration
    from node.site_folder import SiteFolder

    folder = SiteFolder(home.absolute())
    configuration.load(folder.home)
    return folder
