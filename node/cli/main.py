"""The `swarm-node` command, put together. Heavy imports wait until a command needs them."""

import click

from node.cli.audit import audit
from node.cli.canary import canary
from node.cli.chain import chain
from node.cli.data import data
from node.cli.demo import demo
from node.cli.devnet import devnet
from node.cli.doctor import doctor
from node.cli.explorer import explorer
from node.cli.lifecycle import health, logs, pause, resume, stop
from node.cli.membership import found, init, join, leave, members, remove, vote
from node.cli.model import model
from node.cli.options import CONTEXT
from node.cli.rehearse import rehearse
from node.cli.run import run
from node.cli.study import status, study
from node.cli.token import token


class InOrder(click.Group):
    """Lists the commands as they were added: in the order in which a newcomer needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands."""
        return list(self.commands)


@click.group(cls=InOrder, context_settings=CONTEXT)
@click.version_option(package_name="swarm-learning-network", prog_name="swarm-node")
def main() -> None:
    """Train one model with other hospitals, without sharing a patient record."""


BEGINNING = (demo, init, found, join)
CONSORTIUM = (members, vote, leave, remove)
STUDIES = (study, doctor, rehearse, canary, run, status, model, audit, explorer)
RUNNING = (logs, health, pause, resume, stop, token)
TOOLS = (data, devnet, chain)

for command in (*BEGINNING, *CONSORTIUM, *STUDIES, *RUNNING, *TOOLS):
    main.add_command(command)
