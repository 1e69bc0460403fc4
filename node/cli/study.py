"""`swarm-node study`: propose studies, read what others propose, and answer; `swarm-node status`."""

from pathlib import Path
from typing import Any

import click

from node.cli import tables
from node.cli.envelope import conclude
from node.cli.options import PATH, confirm, home_option, json_option, yes_option
from node.printable import printable

STUDY = click.IntRange(1)


@click.group()
def study() -> None:
    """Propose studies, read what others propose, and answer."""


@study.command("new")
@click.argument("file", type=PATH)
@click.option(
    "--from", "template", default="breast-cancer", show_default=True, help="The built-in study to start from."
)
@json_option
def new(file: Path, template: str, as_json: bool) -> None:
    """Write a built-in study to a TOML file, to make one's own of it.

    Example: swarm-node study new stroke.toml --from heart-disease
    """

    def command() -> dict[str, Any]:
        from node.operator.studies import new_file

        return new_file(file, template)

    conclude(
        command,
        as_json=as_json,
        show=lambda data: click.echo(f"{data['file']}: edit it; then swarm-node study propose {data['file']}"),
    )


@study.command("propose")
@home_option
@click.argument("file", type=PATH)
@yes_option
@json_option
def propose(home: Path, file: Path, yes: bool, as_json: bool) -> None:
    """Put a study on the ledger, for every member to answer.

    Example: swarm-node study propose --home site stroke.toml
    """

    def command() -> dict[str, Any]:
        from node.operator import studies
        from node.operator.desk import open_desk

        draft = studies.read_file(file)
        with open_desk(home, signing=True) as desk:
            if not as_json:
                tables.description(studies.described(draft, desk.folder.home))
            confirm("Propose this study to all members?", yes)
            return studies.propose(desk, draft)

    def show(data: dict[str, Any]) -> None:
        click.echo(f"study {data['study']} ({data['name']}) is proposed; specification {data['spec_hash']}")
        click.echo(f"next, at this site too: swarm-node study accept {data['study']}")

    conclude(command, as_json=as_json, show=show)


@study.command("list")
@home_option
@json_option
def list_(home: Path, as_json: bool) -> None:
    """Show every study on the ledger, and what it waits for.

    Example: swarm-node study list --home site
    """

    def command() -> dict[str, Any]:
        from node.operator.desk import open_desk
        from node.operator.studies import listing

        with open_desk(home, signing=False) as desk:
            return listing(desk)

    conclude(command, as_json=as_json, show=tables.studies)


@study.command("inspect")
@home_option
@click.argument("number", type=STUDY)
@json_option
def inspect(home: Path, number: int, as_json: bool) -> None:
    """Say in plain words what a study runs on this site's data, what leaves, and what changed since the last version.

    Example: swarm-node study inspect --home site 2
    """

    def command() -> dict[str, Any]:
        from node.operator.desk import open_desk
        from node.operator.studies import inspect as look

        with open_desk(home, signing=False) as desk:
            return look(desk, number)

    conclude(command, as_json=as_json, show=tables.inspection)


@study.command("accept")
@home_option
@click.argument("number", type=STUDY)
@click.option(
    "--spec", "spec_hash", help="The specification's hash (8 digits or more); else it is shown and asked about."
)
@json_option
def accept(home: Path, number: int, spec_hash: str | None, as_json: bool) -> None:
    """Accept a study, once this site's policy and data allow it; the running node then takes part.

    Example: swarm-node study accept --home site 2
    """

    def command() -> dict[str, Any]:
        from node.operator import studies
        from node.operator.desk import open_desk

        with open_desk(home, signing=True) as desk:
            agreed = spec_hash
            if agreed is None:
                look = studies.inspect(desk, number)
                if not as_json:
                    tables.inspection(printable(look))
                confirm("Accept exactly this specification?", False, instead="--spec HASH")
                agreed = str(look["spec_hash"])
            return studies.accept(desk, number, agreed)

    conclude(command, as_json=as_json, show=tables.standing)


@study.command("decline")
@home_option
@click.argument("number", type=STUDY)
@json_option
def decline(home: Path, number: int, as_json: bool) -> None:
    """Decline a study, on record.

    Example: swarm-node study decline --home site 2
    """

    def command() -> dict[str, Any]:
        from node.operator import studies
        from node.operator.desk import open_desk

        with open_desk(home, signing=True) as desk:
            return studies.decline(desk, number)

    conclude(command, as_json=as_json, show=tables.standing)


@click.command()
@home_option
@json_option
def status(home: Path, as_json: bool) -> None:
    """Say whether this site's node runs, and what each study is doing, waits for, since when and until when, by name.

    Example: swarm-node status --home site
    """

    def command() -> dict[str, Any]:
        from node.operator.desk import open_desk
        from node.operator.studies import overview

        with open_desk(home, signing=False) as desk:
            return overview(desk)

    def show(data: dict[str, Any]) -> None:
        running = "runs" if data["node_running"] else "does not run"
        member = "a member" if data["member"] else "no member"
        click.echo(f"{data['name']} ({data['address']}): its node {running}; {member} of the consortium")
        click.echo(f"chain {data['chain']['id']}, block {data['chain']['block']}")
        if data["paused"] is not None:
            tables.pausing(data["paused"])
        for one in data["studies"]:
            tables.standing(one)

    conclude(command, as_json=as_json, show=show)
