"""Models that came of studies: a file held against the ledger, and a final model handed on with its card."""

import json
from pathlib import Path
from typing import Any

from ledger.state import StudyState
from ledger.types import seats_of
from node.errors import OperatorError, StudyRefused
from node.files import write_atomically
from node.operator.desk import Desk
from node.operator.model_card import card
from node.site_folder import SiteFolder
from node.specification import specification
from node.study_folder import StudyFolder
from swarm.errors import BlobError
from swarm.folder_store import FolderStore
from swarm.model_file import export_safetensors, import_safetensors, model_hash
from swarm.moments import standardisation
from swarm.spec import StudySpec
from swarm.weights import read_vector

SAFETENSORS = "safetensors"
FORMS = (SAFETENSORS, "torchscript", "pt2", "onnx")
"""The forms in which a model is handed on: the one that the ledger names, and those of `swarm.deployable`."""


def bring(folder: SiteFolder, file: Path) -> dict[str, Any]:
    """Keep a safetensors file as a model of this site's, for a study that starts from it; raises OperatorError."""
    try:
        manifest = import_safetensors(file, FolderStore(folder.blobs))
    except OSError as error:
        raise OperatorError(f"can't bring {file} to {folder.blobs}: {error.strerror}") from None
    return {"model": manifest.blob.hex(), "tensors": len(manifest.tensors), "numbers": manifest.elements}


def verify(desk: Desk, file: Path) -> dict[str, Any]:
    """Say which final model a safetensors file is, of which study and round; raises OperatorError where it is none."""
    try:
        blob = model_hash(file)
    except OSError as error:
        raise OperatorError(f"can't read {file}: {error.strerror}") from None
    found = [
        {
            "study": study.number,
            "name": _name(study),
            "round": one.number,
            "last": blob == study.final_output,
            "leader": desk.consortium.name_of(one.terms[-1].leader),
            "merged": [desk.name_at(study, seat) for seat in seats_of(one.final.merged)],
            "attested": one.final.attested.bit_count(),
            "final_since": one.final.at.timestamp,
        }
        for study in desk.state.studies.values()
        for one in study.rounds
        if one.final is not None and one.final.output == blob
    ]
    if not found:
        raise OperatorError(f"{file} is no final model of any study on the ledger; its hash is {blob.hex()}")
    return {"model": blob.hex(), "found": found}


def export(desk: Desk, number: int, out: Path, form: str = SAFETENSORS) -> dict[str, Any]:
    """Write a study's final model, what standardises its inputs, and a card made from the ledger, into a folder.

    The safetensors file is the model that the ledger names; a file of another form of `swarm.deployable` lies beside
    it, and takes raw values. Raises OperatorError where the study isn't finished, the model isn't on this site's disk,
    or a file is in the way; ExportError where the model can't be written in that form.
    """
    study = desk.study(number)
    if study.final_output is None:
        raise OperatorError(f"study {number} has no final model: it is {study.status.name.lower()}")
    spec = specification(study)
    files = {name: out / name for name in ("model.safetensors", "standardisation.json", "model-card.md")}
    if not spec.data.standardise:
        del files["standardisation.json"]
    if form != SAFETENSORS:
        _refuse_custom(spec, form)
        files["deployable"] = out / f"model.{form}"
    for file in files.values():
        if file.exists():
            raise OperatorError(f"{file} exists; choose another folder")
    store = FolderStore(desk.folder.blobs)
    try:
        out.mkdir(parents=True, exist_ok=True)
        written = _deployable(store, study, spec, form, files["deployable"]) if form != SAFETENSORS else None
        export_safetensors(store, study.final_output, files["model.safetensors"])
        if spec.data.standardise:
            write_atomically(files["standardisation.json"], _standardisation(store, study, spec))
        result = StudyFolder(desk.folder.study(number)).result()
        write_atomically(files["model-card.md"], card(desk, study, spec, result, written).encode())
    except BlobError as error:
        raise OperatorError(f"the model is not whole on this site's disk; its node fetches it: {error}") from None
    except OSError as error:
        raise OperatorError(f"can't write to {out}: {error.strerror}") from None
    return {
        "study": number,
        "model": study.final_output.hex(),
        "files": {file.name: str(file) for file in files.values()},
        "largest_difference": written["difference"] if written is not None else None,
    }


def _refuse_custom(spec: StudySpec, form: str) -> None:
    if spec.model.custom:
        raise OperatorError(
            f"a custom model can't be written as {form}: the study knows its tensors, and only the sites' own programs "
            "know what is computed with them; load model.safetensors into that program's module, and export that"
        )


def _deployable(store: FolderStore, study: StudyState, spec: StudySpec, form: str, path: Path) -> dict[str, Any]:
    """Write the file that other programs run, and say by how much it differed from the model."""
    from swarm.deployable import write_deployable  # torch takes seconds to import, and most commands don't need it

    vector, _ = read_vector(store, study.final_output or b"")
    agreed = standardisation(store, study.output_of(0) or b"") if spec.data.standardise else None
    written = write_deployable(spec, vector, agreed, form, path)
    return {"name": path.name, "form": form, "difference": written.difference}


def _standardisation(store: FolderStore, study: StudyState, spec: StudySpec) -> bytes:
    agreed = standardisation(store, study.output_of(0) or b"")
    channels = [f"channel {index}" for index in range(spec.data.columns)]
    names = [feature.name for feature in spec.data.features] or channels
    columns = [
        {"name": name, "mean": float(mean), "scale": float(scale)}
        for name, mean, scale in zip(names, agreed.mean, agreed.scale, strict=True)
    ]
    return json.dumps({"use": "(x - mean) / scale", "rows": agreed.count, "columns": columns}, indent=2).encode()


def _name(study: StudyState) -> str:
    try:
        return specification(study).study.name
    except StudyRefused:  # of another version: its models can be told all the same
        return ""
