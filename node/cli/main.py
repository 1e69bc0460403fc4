"""The `swarm-node` command and its subcommands. Heavy imports wait until a command needs them."""

from pathlib import Path

import click

from node.cli.envelope import conclude

PATH = click.Path(path_type=Path)
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

json_option = click.option(
    "--json", "as_json", is_flag=True, help="End standard output with one line: a JSON envelope."
)


@click.group(context_settings=CONTEXT)
@click.version_option(package_name="swarm-learning-network", prog_name="swarm-node")
def main() -> None:
    """Train one model with other hospitals, without sharing a patient record."""


@main.command()
@click.option("--home", type=PATH, required=True, help="The site's folder.")
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


@main.group()
def devnet() -> None:
    """Run a development chain: one party's machine, for development and rehearsal."""


@devnet.command("install")
@json_option
def devnet_install(as_json: bool) -> None:
    """Fetch the chain's program (anvil, through npm) into this user's cache.

    Example: swarm-node devnet install
    """

    def command() -> dict[str, object]:
        from ledger.devnet import install

        binary = install()
        click.echo(str(binary), err=as_json)
        return {"anvil": str(binary)}

    conclude(command, as_json=as_json)


@devnet.command("start")
@click.option("--dir", "folder", type=PATH, required=True, help="The chain's folder; the same chain every time.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8545, show_default=True, help="Port on this machine.")
@json_option
def devnet_start(folder: Path, port: int, as_json: bool) -> None:
    """Run the chain that is in a folder, or a new one, in the foreground until Ctrl-C or SIGTERM.

    Example: swarm-node devnet start --dir chain
    """

    def command() -> dict[str, object]:
        import signal

        from ledger.devnet import Devnet

        told = {signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, told)  # before any thread starts, so that none of them is told instead
        with Devnet.start(folder.absolute(), port=port) as chain:
            click.echo(f"chain {chain.chain_id}: {chain.url} and {chain.ipc}", err=True)
            signal.sigwait(told)
        return {}

    conclude(command, as_json=as_json)


@main.group()
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


@main.command()
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
