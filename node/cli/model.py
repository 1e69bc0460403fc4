"""`swarm-node model`: models that came of studies."""

from pathlib import Path
from typing import Any

import click

from node.cli.envelope import conclude
from node.cli.options import PATH, home_option, json_option


@click.group()
def model() -> None:
    """Hold a model file against the ledger, or hand a final model on."""


@model.command("verify")
@home_option
@click.argument("file", type=PATH)
@json_option
def verify(home: Path, file: Path, as_json: bool) -> None:
    """Say which study and round a model file is the final model of, according to the ledger.

    Example: swarm-node model verify --home site model.safetensors
    """

    def command() -> dict[str, Any]:
        from node.operator.desk import open_desk
        from node.operator.models import verify as look

        with open_desk(home, signing=False) as desk:
            return look(desk, file)

    def show(data: dict[str, Any]) -> None:
        click.echo(f"model {data['model']}")
        for one in data["found"]:
            which = "the final model" if one["last"] else f"the model after round {one['round']}"
            click.echo(
                f"  {which} of study {one['study']} ({one['name']}): merged by {one['leader']} from the updates of "
                f"{', '.join(one['merged'])}; attested by {one['attested']} sites"
            )

    conclude(command, as_json=as_json, show=show)


@model.command("import")
@home_option
@click.argument("file", type=PATH)
@json_option
def import_(home: Path, file: Path, as_json: bool) -> None:
    """Bring a model file to this site, for a study of one's own training loop that starts from it.

    Example: swarm-node model import --home site pretrained.safetensors
    """

    def command() -> dict[str, Any]:
        from node import config as configuration
        from node.operator.models import bring
        from node.site_folder import SiteFolder

        folder = SiteFolder(home.absolute())
        configuration.load(folder.home)  # names a folder that is no site's
        return bring(folder, file)

    conclude(
        command,
        as_json=as_json,
        show=lambda data: click.echo(f"model {data['model']}: {data['tensors']} tensors, {data['numbers']:,} numbers"),
    )


@model.command("pull")
@home_option
@click.argument("study", type=click.IntRange(1))
@click.option(
    "--timeout", type=click.FloatRange(1, 86_400), default=60, show_default=True, help="Seconds to look for a source."
)
@json_option
def pull(home: Path, study: int, timeout: float, as_json: bool) -> None:
    """Fetch a study's final model from whichever of its sites has it, verify it by its hash, and keep it.

    A running node does this by itself; this is for a site whose node does not run, or whose disk has lost it. The
    sites of a study give its models to one another, and to nobody else.

    Example: swarm-node model pull --home site 1
    """

    def command() -> dict[str, Any]:
        from node.operator.desk import open_desk
        from node.operator.pulling import pull as fetch

        with open_desk(home, signing=True) as desk:
            return fetch(desk, study, timeout)

    def show(data: dict[str, Any]) -> None:
        click.echo(f"model {data['model']}: {data['file']}")
        click.echo("fetched and verified" if data["fetched"] else "it was here already, and is whole")

    conclude(command, as_json=as_json, show=show)


@model.command("export")
@home_option
@click.argument("study", type=click.IntRange(1))
@click.option("--out", type=PATH, default=Path("model"), show_default=True, help="Folder for the files.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["safetensors", "torchscript", "pt2", "onnx"]),
    default="safetensors",
    show_default=True,
    help="Beside model.safetensors, a file that takes raw values; it is run and compared before it is kept.",
)
@json_option
def export(home: Path, study: int, out: Path, form: str, as_json: bool) -> None:
    """Write a study's final model (safetensors), what standardises its inputs, and a card made from the ledger.

    With --format, another file lies beside it that other programs run on raw feature values, without this program:
    TorchScript (which PyTorch calls deprecated), PyTorch's newer export (pt2), or ONNX.

    Example: swarm-node model export --home site 1 --out model --format onnx
    """

    def command() -> dict[str, Any]:
        from node.operator.desk import open_desk
        from node.operator.models import export as write

        with open_desk(home, signing=False) as desk:
            return write(desk, study, out.absolute(), form)

    def show(data: dict[str, Any]) -> None:
        click.echo(f"model {data['model']}")
        for file in data["files"].values():
            click.echo(f"  {file}")

    conclude(command, as_json=as_json, show=show)
