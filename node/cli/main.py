"""The `swarm-node` command, put together. Heavy imports wait until a command needs them."""

import click

from node.cli.chain import chain
from node.cli.data import data
from node.cli.demo import demo
from node.cli.devnet import devnet
from node.cli.options import CONTEXT
from node.cli.run import run


@click.group(context_settings=CONTEXT)
@click.version_option(package_name="swarm-learning-network", prog_name="swarm-node")
def main() -> None:
    """Train one model with other hospitals, without sharing a patient record."""


for command in (run, demo, data, devnet, chain):
    main.add_command(command)
