"""`swarm-node canary`: one round of a study with the real sites, before all of it."""

from pathlib import Path
from typing import Any

import click

from node.cli import tables
from node.cli.envelope import conclude
from node.cli.options import confirm, home_option, json_option, yes_option
from node.printable import printable


@click.group()
def canary() -> None:
    """Try a study out: one round with the real sites, network and chain, whose model counts for nothing."""


@canary.command("start")
@home_option
@click.argument("study")
@click.option(
    "--answer-within",
    type=click.IntRange(1, 30 * 86_400),
    default=3600,
    show_default=True,
    help="Seconds for the members' answers; it begins with those who accepted.",
)
@yes_option
@json_option
def start(home: Path, study: str, answer_within: int, yes: bool, as_json: bool) -> None:
    """Propose one round of a study, for every member to answer.

    STUDY is a study's number on the ledger, or a TOML file. The canary is a study of its own, with the same terms.
    Sites accept it as any other (swarm-node study accept), and their running nodes take part.

    Example: swarm-node canary start --home site stroke.toml
    """

    def command() -> dict[str, Any]:
        from node.operator import canary, studies
        from node.operator.desk import open_desk
        from node.specification import specification

        with open_desk(home, signing=True) as desk:
            spec = specification(desk.study(int(study))) if study.isdecimal() else studies.read_file(Path(study))
            if not as_json:
                tables.description(printable(studies.described(canary.canary_of(spec, answer_within), home)))
            confirm("Propose this round to all members?", yes)
            return canary.start(desk, spec, answer_within)

    def show(data: dict[str, Any]) -> None:
        number = data["study"]
        click.echo(f"study {number} ({data['name']}) is proposed; specification {data['spec_hash']}")
        click.echo(f"next, at each site, this one too: swarm-node study accept {number}")
        click.echo(f"and then: swarm-node canary verdict {number} --wait")

    conclude(command, as_json=as_json, show=show)


@canary.command("verdict")
@home_option
@click.argument("number", type=click.IntRange(1))
@click.option("--wait", is_flag=True, help="Wait until it is over.")
@click.option("--for", "whole", help="The study to estimate: its number or TOML file; else the newest of that name.")
@json_option
def verdict(home: Path, number: int, wait: bool, whole: str | None, as_json: bool) -> None:
    """Say what came of a canary: who committed, was merged and attested, what was slow, and what it all would take.

    Exits with 1 where it is over and something went wrong. Any study may be judged so.

    Example: swarm-node canary verdict --home site 3 --wait
    """

    def command() -> dict[str, Any]:
        from node.errors import Unfit
        from node.operator import verdict as judge
        from node.operator.desk import open_desk
        from node.operator.studies import await_end, find

        spec = find(home, whole) if whole is not None else None
        with open_desk(home, signing=False) as desk:
            if wait:
                await_end(desk, number)
            data = judge.verdict(desk, number, spec)
        if data["passed"] is False:
            if not as_json:
                tables.verdict(printable(data))
            raise Unfit("; ".join(data["faults"]) or f"study {number} was {data['status']}", data)
        return data

    conclude(command, as_json=as_json, show=tables.verdict)
