"""`swarm-node run`."""

from pathlib import Path

import click

from node.cli.envelope import conclude
from node.cli.options import home_option, json_option


@click.command()
@home_option
@click.option("--die-with-parent", is_flag=True, hidden=True, help="End when the process that started this one ends.")
@click.option("--die-at", "die_at", hidden=True, help="Rehearse a failure: before-publish@3, after-commit@2, ...")
@json_option
def run(home: Path, die_with_parent: bool, die_at: str | None, as_json: bool) -> None:
    """Run a site in the foreground until it is told to stop (SIGTERM or Ctrl-C).

    Example: swarm-node run --home /var/lib/swarm
    """

    def command() -> dict[str, object]:
        import trio

        from node.faults import DieAt
        from node.lifeline import end_with_parent
        from node.site import run_site

        if die_with_parent:
            end_with_parent()
        plan = DieAt.parse(die_at) if die_at else None
        trio.run(lambda: run_site(home, die_at=plan), strict_exception_groups=True)
        return {}

    conclude(command, as_json=as_json)
