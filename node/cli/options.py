"""Options and settings that commands share."""

import sys
from pathlib import Path

import click

from node.errors import ConfigurationError, OperatorError
from node.printable import printable

PATH = click.Path(path_type=Path)
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

json_option = click.option(
    "--json", "as_json", is_flag=True, help="End standard output with one line: a JSON envelope."
)
home_option = click.option(
    "--home",
    type=PATH,
    required=True,
    envvar="SWARM_HOME",
    show_envvar=True,
    help="The site's folder.",
)
yes_option = click.option("--yes", is_flag=True, help="Don't ask.")


def confirm(question: str, yes: bool, *, instead: str = "--yes") -> None:
    """Ask before a deed; raises ConfigurationError where nobody can be asked, OperatorError where the answer is no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError(f"{question} Give {instead}, since nobody can be asked here")
    if not click.confirm(question, err=True):
        raise OperatorError("nothing was done")


def tell(text: str) -> None:
    """Say how a command gets on: on standard error, where it doesn't get between results."""
    click.echo(printable(text), err=True)
