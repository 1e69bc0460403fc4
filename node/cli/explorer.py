"""`swarm-node explorer`: the ledger in the browser, and as an API for programs."""

from pathlib import Path
from typing import Any

import click

from node.cli.envelope import conclude
from node.cli.options import PATH, json_option, tell


@click.command()
@click.option(
    "--home", type=PATH, envvar="SWARM_HOME", show_envvar=True, help="A site's folder, or the one that a demo left."
)
@click.option("--deployment", type=PATH, help="Instead of a folder: the consortium's deployment.json ...")
@click.option("--rpc", help="... and an Ethereum node: http(s)://... or ipc:///path.")
@click.option("--db", type=PATH, help="The index, made where it is missing.  [default: explorer.sqlite, in the folder]")
@click.option("--listen", default="127.0.0.1:8600", show_default=True, help="Where to serve; port 0 takes a free one.")
@click.option("--certificate", type=PATH, help="Serve with TLS: this certificate, in PEM ...")
@click.option("--private-key", type=PATH, help="... and its private key.")
@click.option("--behind-proxy", is_flag=True, help="Serve other machines without TLS: a proxy before this one has it.")
@click.option("--host", "hosts", multiple=True, help="A name that readers type, besides this machine's own.")
@click.option("--allow-origin", "origins", multiple=True, help="Let this web site's pages read the API.")
@click.option(
    "--rate", type=click.FloatRange(min=0.1), default=50, show_default=True, help="Requests a second, per client."
)
@click.option("--provisional", type=click.IntRange(0, 1000), help="Newest blocks that may be replaced: 0 with QBFT.")
@json_option
def explorer(as_json: bool, **options: Any) -> None:
    """Show the whole ledger in the browser, read-only, until told to stop (SIGTERM or Ctrl-C).

    It needs a deployment file and a node to ask, and no key. Programs find the API under /api/v1.

    Example: swarm-node explorer --home swarm-demo
    """

    def command() -> dict[str, Any]:
        from node.operator.explorer import ExplorerOptions, explore

        given = ExplorerOptions(**{name: _absolute(value) for name, value in options.items()})
        return explore(given, lambda url: tell(f"explorer: {url} (Ctrl-C ends it)"))

    conclude(command, as_json=as_json)


def _absolute(value: Any) -> Any:
    return value.absolute() if isinstance(value, Path) else value
