"""`swarm-node doctor`."""

from pathlib import Path
from typing import Any

import click

from node.cli import tables
from node.cli.envelope import conclude
from node.cli.options import home_option, json_option
from node.printable import printable


@click.command()
@home_option
@json_option
def doctor(home: Path, as_json: bool) -> None:
    """Say whether this site is fit to take part: machine, key, chain, clock, membership, data, port and peers.

    Exits with 0 where it is and with 1 where a check failed. Nothing is written anywhere.

    Example: swarm-node doctor --home site
    """

    def command() -> dict[str, Any]:
        from node.errors import Unfit
        from node.operator.doctor import examine, summary

        findings = []
        for finding in examine(home):
            findings.append(finding)
            if not as_json:
                tables.finding(finding.check, finding.verdict.value, printable(finding.says))
        data = summary(findings)
        if not data["fit"]:
            failed = ", ".join(dict.fromkeys(one.check for one in findings if one.verdict == "failed"))
            raise Unfit(f"this site can't take part yet; see to: {failed}", data)
        return data

    conclude(command, as_json=as_json, show=lambda data: click.echo("this site is fit to take part"))
