"""What a site remembers of one study: a few small files, each written whole or not at all."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from node.files import write_atomically
from node.rounds.decide import Basis


@dataclass(frozen=True, slots=True)
class UpdateRecord:
    """An update that this site computed: what it commits, and commits again after a crash."""

    blob: bytes
    weight: int
    epsilon_micro: int


class StudyFolder:
    """`studies/ID/` of a site: the specification, the updates made so far, models and results."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._updates: dict[Basis, UpdateRecord] = {}
        for file in sorted((path / "updates").glob("*.json")):
            record = json.loads(file.read_bytes())
            self._updates[_basis(record["basis"])] = UpdateRecord(
                bytes.fromhex(record["blob"]), record["weight"], record["epsilon_micro"]
            )

    @property
    def spec_path(self) -> Path:
        """The canonical specification, for the training process."""
        return self.path / "spec.json"

    @property
    def model_path(self) -> Path:
        """The final model."""
        return self.path / "model.safetensors"

    def keep_spec(self, canonical: bytes) -> None:
        """Write the specification."""
        write_atomically(self.spec_path, canonical)

    def update(self, basis: Basis) -> UpdateRecord | None:
        """The update that was computed from this basis, if any."""
        return self._updates.get(basis)

    def updates_since(self, number: int) -> set[bytes]:
        """The blobs that this site made for that round and those after it."""
        return {update.blob for basis, update in self._updates.items() if basis.round >= number}

    def keep_update(self, basis: Basis, update: UpdateRecord) -> None:
        """Remember an update, durably, before it is committed."""
        record = {
            "basis": {key: value.hex() if isinstance(value, bytes) else value for key, value in asdict(basis).items()},
            "blob": update.blob.hex(),
            "weight": update.weight,
            "epsilon_micro": update.epsilon_micro,
        }
        inputs = hashlib.sha256((basis.base or b"") + (basis.moments or b"")).hexdigest()
        name = f"{basis.round:05d}-{inputs[:16]}.json"
        write_atomically(self.path / "updates" / name, json.dumps(record).encode())
        self._updates[basis] = update

    def keep_result(self, result: dict[str, Any]) -> None:
        """Write what came of the study at this site."""
        write_atomically(self.path / "result.json", json.dumps(result, indent=2).encode())

    def result(self) -> dict[str, Any] | None:
        """What came of the study at this site, once it has ended."""
        path = self.path / "result.json"
        if not path.exists():
            return None
        result: dict[str, Any] = json.loads(path.read_bytes())
        return result


def _basis(record: dict[str, Any]) -> Basis:
    base, moments = record["base"], record["moments"]
    return Basis(record["round"], base and bytes.fromhex(base), moments and bytes.fromhex(moments))
