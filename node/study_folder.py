"""What a site remembers of one study: a few small files, each written whole or not at all."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from node import log
from node.errors import WorkerError
from node.files import write_atomically
from node.rounds.decide import Basis
from swarm.nesting import check_nesting

TIMINGS = "timings.jsonl"


@dataclass(frozen=True, slots=True)
class UpdateRecord:
    """An update that this site computed: what it commits, and commits again after a crash."""

    blob: bytes
    weight: int
    epsilon_micro: int

    @classmethod
    def from_reply(cls, reply: Mapping[str, Any]) -> "UpdateRecord":
        """Read what the training process says of an update; raises WorkerError."""
        try:
            return cls(_hash(reply["blob"]), _whole(reply["weight"], 1), _whole(reply.get("epsilon_micro", 0), 0))
        except (LookupError, ValueError) as error:
            raise WorkerError(f"the training process described no update: {error}") from None


class StudyFolder:
    """`studies/ID/` of a site: the specification, the updates made so far, models and results.

    A record that a disk has damaged counts as absent: what it said can be computed again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._updates: dict[Basis, UpdateRecord] = {}
        for file in sorted((path / "updates").glob("*.json")):
            try:
                record = _read(file)
                self._updates[_basis(record["basis"])] = UpdateRecord(
                    _hash(record["blob"]), _whole(record["weight"], 1), _whole(record["epsilon_micro"], 0)
                )
            except (OSError, LookupError, ValueError) as error:
                log.get().warning("record_unreadable", file=str(file), reason=str(error))

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

    def forget_updates(self, is_lost: Callable[[bytes], bool]) -> None:
        """Let go of updates whose blob is lost, so that they are computed again."""
        self._updates = {basis: update for basis, update in self._updates.items() if not is_lost(update.blob)}

    def keep_update(self, basis: Basis, update: UpdateRecord) -> None:
        """Remember an update, durably, before it is committed."""
        record = {
            "basis": {key: value.hex() if isinstance(value, bytes) else value for key, value in asdict(basis).items()},
            "blob": update.blob.hex(),
            "weight": update.weight,
            "epsilon_micro": update.epsilon_micro,
        }
        write_atomically(self._file(basis), json.dumps(record).encode())
        self._updates[basis] = update

    def forget_before(self, number: int) -> set[bytes]:
        """Let go of the updates of rounds before that one, on the disk too; gives their blobs."""
        over = {basis: update.blob for basis, update in self._updates.items() if basis.round < number}
        for basis in over:
            del self._updates[basis]
            try:
                self._file(basis).unlink(missing_ok=True)
            except OSError as error:
                log.get().warning("record_not_deleted", file=str(self._file(basis)), reason=str(error))
        return set(over.values())

    def _file(self, basis: Basis) -> Path:
        inputs = hashlib.sha256((basis.base or b"") + (basis.moments or b"")).hexdigest()
        return self.path / "updates" / f"{basis.round:05d}-{inputs[:16]}.json"

    def note_timing(self, number: int, timing: Mapping[str, float]) -> None:
        """Add where the seconds of a round went; an earlier note on the same round counts no more."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / TIMINGS).open("ab") as file:
            # The newline first: a line that a power cut broke off spoils no other.
            file.write(b"\n" + json.dumps({"round": number, **timing}).encode())

    def timings(self) -> dict[int, dict[str, float]]:
        """Where the seconds went, by round; nothing of rounds whose note is lost."""
        try:
            lines = (self.path / TIMINGS).read_bytes().splitlines()
        except OSError:
            return {}
        found: dict[int, dict[str, float]] = {}
        for line in filter(None, lines):
            try:
                record = json.loads(check_nesting(line))
                number = _whole(record.pop("round"), 0)
                found[number] = {name: float(value) for name, value in record.items()}
            except (ValueError, LookupError, AttributeError, TypeError) as error:
                log.get().warning("record_unreadable", file=str(self.path / TIMINGS), reason=str(error))
        return found

    def keep_result(self, result: dict[str, Any]) -> None:
        """Write what came of the study at this site."""
        write_atomically(self.path / "result.json", json.dumps(result, indent=2).encode())

    def is_concluded(self) -> bool:
        """Whether the final model and the result are here, so that nothing of the study is left to do."""
        return self.result() is not None and self.model_path.exists()

    def result(self) -> dict[str, Any] | None:
        """What came of the study at this site, once it has ended."""
        path = self.path / "result.json"
        try:
            return _read(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.get().warning("record_unreadable", file=str(path), reason=str(error))
            return None


def _read(path: Path) -> dict[str, Any]:
    record = json.loads(check_nesting(path.read_bytes()))
    if not isinstance(record, dict):
        raise ValueError("it is not a JSON object")
    return record


def _basis(record: Any) -> Basis:
    if not isinstance(record, dict):
        raise ValueError("the basis is not a JSON object")
    base, moments = record["base"], record["moments"]
    return Basis(
        _whole(record["round"], 0), None if base is None else _hash(base), None if moments is None else _hash(moments)
    )


def _hash(value: Any) -> bytes:
    blob = bytes.fromhex(value) if isinstance(value, str) else b""
    if len(blob) != 32:
        raise ValueError(f"a blob's hash has 64 hex digits, not {str(value)[:80]!r}")
    return blob


def _whole(value: Any, least: int) -> int:
    if type(value) is not int or not least <= value < 1 << 63:
        raise ValueError(f"a whole number from {least} is needed, not {str(value)[:80]!r}")
    return value
