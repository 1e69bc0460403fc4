"""Options and settings that commands share."""

from pathlib import Path

import click

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
