"""`swarm-node demo`."""

from pathlib import Path

import click

from node.cli.envelope import conclude
from node.cli.options import PATH, json_option


@click.command()
@click.option("--sites", type=click.IntRange(2, 64), default=4, show_default=True, help="Number of sites.")
@click.option("--rounds", type=click.IntRange(1, 10_000), help="Training rounds, instead of the study's own.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Of shards and training.")
@click.option(
    "--data",
    "source",
    type=click.Choice(["breast-cancer", "heart-disease"]),
    default="breast-cancer",
    show_default=True,
    help="What to train on; heart-disease needs --path.",
)
@click.option("--path", type=PATH, help="Folder with the data set's files.")
@click.option("--out", type=PATH, default=Path("swarm-demo"), show_default=True, help="Folder for all that it leaves.")
@click.option("--kill-leader", type=click.IntRange(0), metavar="ROUND", help="Kill the leader's process in that round.")
@click.option("--resume", is_flag=True, help="Go on where an earlier run in the same folder was stopped.")
@json_option
def demo(
    sites: int,
    rounds: int | None,
    seed: int,
    source: str,
    path: Path | None,
    out: Path,
    kill_leader: int | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Run a whole swarm on this machine: a chain, N sites, real patients' data, and what came of it.

    Example: swarm-node demo --sites 4 --kill-leader 3
    """

    def command() -> dict[str, object]:
        from node.demo.options import DemoOptions
        from node.demo.run import run_demo

        options = DemoOptions(sites, rounds, seed, source, path, out.absolute(), kill_leader, resume)
        return run_demo(options, quiet_stdout=as_json)

    conclude(command, as_json=as_json)
