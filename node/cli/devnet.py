"""`swarm-node devnet`: the development chain."""

from pathlib import Path

import click

from node.cli.envelope import conclude
from node.cli.options import PATH, json_option


@click.group()
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
