"""`swarm-node audit`: a study's whole history, for somebody who trusts no site."""

from pathlib import Path
from typing import Any

import click

from node.cli.envelope import conclude
from node.cli.options import PATH, json_option

folder_option = click.option(
    "--home",
    type=PATH,
    required=True,
    envvar="SWARM_HOME",
    show_envvar=True,
    help="A site's folder, or the one that a demo left.",
)


@click.group()
def audit() -> None:
    """Hand a study's history to an auditor, or check one without a chain and without trusting whoever made it."""


@audit.command("export")
@folder_option
@click.argument("study", type=click.IntRange(1))
@click.option("--out", type=PATH, default=Path("study.audit"), show_default=True, help="The file to write.")
@click.option("--blobs", is_flag=True, help="With models and updates, as far as they are here: merges can be redone.")
@json_option
def export(home: Path, study: int, out: Path, blobs: bool, as_json: bool) -> None:
    """Write one file that proves a study's history: headers, receipts, signed transactions, manifests.

    Example: swarm-node audit export --home site 1 --out study.audit
    """

    def command() -> dict[str, Any]:
        from node.operator.audit import export as write

        return write(home, study, out.absolute(), blobs=blobs)

    def show(data: dict[str, Any]) -> None:
        click.echo(f"{data['file']}: study {data['study']}, {data['bytes']:,} bytes, up to block {data['last_block']}")
        click.echo(f"digest {data['digest']}")
        click.echo(f"An auditor asks another member for a hash: swarm-node audit block --number {data['last_block']}")

    conclude(command, as_json=as_json, show=show)


@audit.command("block")
@folder_option
@click.option("--number", type=click.IntRange(0), help="Which block, instead of the newest.")
@json_option
def block(home: Path, number: int | None, as_json: bool) -> None:
    """Say what a block's hash is on this site's own node: what an auditor asks a member that didn't export.

    Example: swarm-node audit block --home site
    """

    def command() -> dict[str, Any]:
        from node.operator.audit import tell_block

        return tell_block(home, number)

    conclude(command, as_json=as_json, show=lambda data: click.echo(f"block {data['block']}  {data['hash']}"))


@audit.command("verify")
@click.argument("file", type=PATH)
@click.option("--block", metavar="HASH", help="A block's hash that came from another member than the exporter.")
@click.option("--model", type=PATH, help="A model file that is to be the study's final model.")
@click.option("--report", "reports", type=PATH, multiple=True, help="Write a report, too: FILE.html or FILE.pdf.")
@json_option
def verify(file: Path, block: str | None, model: Path | None, reports: tuple[Path, ...], as_json: bool) -> None:
    """Check a file that `audit export` wrote: no chain, no network, no trust in whoever wrote it.

    Exits with 0 where the history is the chain's and nothing in it is broken, else with 1.

    Example: swarm-node audit verify study.audit --model model.safetensors --block 0x...
    """

    def command() -> dict[str, Any]:
        from ledger.errors import AuditFailed
        from node.operator.audit import verify as check
        from node.printable import printable

        try:
            return check(file, model=model, block=block, reports=tuple(one.absolute() for one in reports))
        except AuditFailed as failed:
            if not as_json:
                _show(printable(failed.details))
            raise

    def show(data: dict[str, Any]) -> None:
        _show(data)
        click.echo(data["sentence"])

    conclude(command, as_json=as_json, show=show)


_COLOURS = {"holds": "green", "broken": "bold red", "not decidable": "yellow"}


def _show(data: dict[str, Any]) -> None:
    """Which study, which blocks, and the rules in a table."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    study, provenance = data["study"], data["provenance"]
    if study is not None:
        click.echo(
            f"study {study['number']} ({study['name']}), {study['status']}, specification {study['specification']}"
        )
        click.echo(f"final model {study['final_model'] or '-'}")
    click.echo(f"blocks {provenance['first_block']} to {provenance['last_block']} (0x{provenance['last_hash']})")
    table = Table(title="What was checked", title_justify="left")
    for column in ("rule", "verdict", "says"):
        table.add_column(column, overflow="fold")
    for rule in data["rules"]:
        colour = _COLOURS[rule["outcome"]]
        table.add_row(rule["rule"], f"[{colour}]{rule['outcome']}[/{colour}]", escape(rule["says"]))
    Console(highlight=False).print(table)
    for rule in data["rules"]:
        for finding in rule["broken"]:
            place = ", ".join(f"{key} {finding[key]}" for key in ("site", "round", "block") if finding[key] is not None)
            click.echo(f"broken: {rule['rule']}: {finding['what']}{f' ({place})' if place else ''}")
