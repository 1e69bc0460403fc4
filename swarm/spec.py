"""The study specification: what every site agrees to before anything runs.

People write TOML; what is hashed, proposed and kept is canonical JSON: every field present, sorted keys, no white
space, ASCII. A float is written as Python's `repr` does: the shortest decimal that reads back as the same IEEE double,
which is the same text on every platform.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import ValidationError, model_validator

from swarm.errors import SpecificationError
from swarm.manifest import CHUNK_ELEMENTS, Layout
from swarm.merge import MergeRule
from swarm.nesting import check_nesting
from swarm.sections import (
    PRIVACY_MODES,
    DataSection,
    Feature,
    MergeSection,
    ModelSection,
    PrivacySection,
    RoundSection,
    Section,
    StudySection,
    TrainingSection,
)

__all__ = [
    "MAX_SPEC_BYTES",
    "PRIVACY_MODES",
    "DataSection",
    "Feature",
    "MergeSection",
    "ModelSection",
    "PrivacySection",
    "RoundSection",
    "StudySection",
    "StudySpec",
    "StudyTerms",
    "TrainingSection",
]

MAX_SPEC_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class StudyTerms:
    """The part of a specification that the contract enforces: the fields of `IStudy.Terms`, in their order."""

    rounds: int
    statistics: bool
    min_sites: int
    quorum_bps: int
    accept_seconds: int
    collect_seconds: int
    grace_seconds: int
    merge_seconds: int
    review_seconds: int
    least_seconds: int
    weight_cap: int
    epsilon_budget: int
    clip_bound: int


class StudySpec(Section):
    """A study specification. A draft has no `model.initial` yet, and can't be proposed."""

    version: Literal[1] = 1
    study: StudySection
    data: DataSection
    model: ModelSection
    training: TrainingSection
    merge: MergeSection
    privacy: PrivacySection = PrivacySection()
    round: RoundSection

    @model_validator(mode="after")
    def _check(self) -> Self:
        count, task = len(self.data.classes), self.study.task
        if (
            (task == "binary" and count != 2)
            or (task == "multiclass" and count < 2)
            or (task == "regression" and count)
        ):
            needed = {"binary": "two", "multiclass": "two or more", "regression": "no"}[task]
            raise ValueError(f"data.classes: a {task} study has {needed} classes, not {count}")
        if (task == "regression") != (self.training.loss == "mean_squared_error") and self.training.loss != "default":
            raise ValueError(f"training.loss: {self.training.loss} is no loss of a {task} study")
        if task == "multiclass" and self.training.loss == "binary_cross_entropy":
            raise ValueError("training.loss: binary_cross_entropy is no loss of a multiclass study")
        if self.model.custom and self.data.standardise:
            raise ValueError("data.standardise: must be false: a custom model's training loop prepares its own inputs")
        if self.training.max_local_steps and not self.model.custom:
            raise ValueError("training.max_local_steps: only a custom model's training loop can choose its steps")
        return self

    @classmethod
    def from_toml(cls, text: str) -> "StudySpec":
        """Read what a person wrote; raises SpecificationError naming each wrong field."""
        try:
            return cls._validated(tomllib.loads(text))
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise SpecificationError(f"the specification isn't TOML: {error}") from None

    @classmethod
    def from_json(cls, data: bytes) -> "StudySpec":
        """Read canonical JSON, of a draft too, and nothing but canonical JSON; raises SpecificationError."""
        if len(data) > MAX_SPEC_BYTES:
            raise SpecificationError(
                f"the specification has {len(data)} bytes: at most {MAX_SPEC_BYTES} fit the ledger"
            )
        try:
            record = json.loads(check_nesting(data))
        except (ValueError, RecursionError) as error:
            raise SpecificationError(f"the specification isn't JSON: {error}") from None
        if not isinstance(record, dict):
            raise SpecificationError("the specification isn't a JSON object")
        spec = cls._validated(record)
        if spec.canonical(draft=True) != data:
            raise SpecificationError("the specification isn't in canonical form: its hash would not be unique")
        return spec

    def canonical(self, *, draft: bool = False) -> bytes:
        """Give the bytes that are hashed and proposed; raises SpecificationError for a draft not asked for."""
        if not (draft or self.model.initial):
            raise SpecificationError("model.initial: a draft has no initial model yet; `with_initial` sets it")
        record = self.model_dump(mode="json")
        data = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()
        if len(data) > MAX_SPEC_BYTES:
            raise SpecificationError(
                f"the specification has {len(data)} bytes: at most {MAX_SPEC_BYTES} fit the ledger"
            )
        return data

    @property
    def hash(self) -> bytes:
        """SHA-256 of the canonical form; raises SpecificationError for a draft."""
        return hashlib.sha256(self.canonical()).digest()

    @property
    def initial(self) -> bytes:
        """Blob of the initial model; raises SpecificationError for a draft."""
        if not self.model.initial:
            raise SpecificationError("model.initial: a draft has no initial model yet; `with_initial` sets it")
        return bytes.fromhex(self.model.initial)

    def with_initial(self, blob: bytes) -> "StudySpec":
        """Give this specification with its initial model."""
        record = self.model_dump(mode="json")
        record["model"]["initial"] = blob.hex()
        return self._validated(record)

    def terms(self) -> StudyTerms:
        """Give what the contract enforces; epsilon and clip norm are in millionths."""
        return StudyTerms(
            rounds=self.training.rounds,
            statistics=self.data.standardise,
            min_sites=self.round.min_sites,
            quorum_bps=self.round.quorum_bps,
            accept_seconds=self.round.accept_seconds,
            collect_seconds=self.round.collect_seconds,
            grace_seconds=self.round.grace_seconds,
            merge_seconds=self.round.merge_seconds,
            review_seconds=self.round.review_seconds,
            least_seconds=self.round.least_seconds,
            weight_cap=self.merge.weight_cap,
            epsilon_budget=self.privacy.epsilon_micro,
            clip_bound=self.merge.clip_micro,
        )

    def merge_rule(self, layout: Layout, *, chunk_elements: int = CHUNK_ELEMENTS) -> MergeRule:
        """Give the rule for a model of this layout (the initial model's)."""
        merge = self.merge
        return MergeRule(layout, merge.dtype, merge.scale_bits, merge.bound, merge.weight_cap, chunk_elements)

    @classmethod
    def _validated(cls, record: Mapping[str, Any]) -> "StudySpec":
        try:
            return cls.model_validate(record)
        except ValidationError as error:
            raise SpecificationError(_sentences(error)) from None


def _sentences(error: ValidationError) -> str:
    """One line for each wrong field."""
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        field = ".".join(map(str, item["loc"]))
        message = item["msg"].removeprefix("Value error, ")
        lines.append(f"{field}: {message}" if field else message)
    return "\n".join(lines)
