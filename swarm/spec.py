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
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from swarm.errors import SpecificationError
from swarm.fixed import MICRO, clip_bound
from swarm.manifest import CHUNK_ELEMENTS, Layout
from swarm.merge import MAX_SITES, MergeRule, max_weight_cap

MAX_SPEC_BYTES = 65_536
PRIVACY_MODES = ("bound",)
_DAY = 86_400
_BASIS_POINTS = 10_000

# Other sites' operators read these texts in a terminal: no control characters, and none that reorder a line.
_CONTROL = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
Line = Annotated[str, StringConstraints(pattern=rf"^[^\t\n{_CONTROL}]*$", max_length=256)]
Prose = Annotated[str, StringConstraints(pattern=rf"^[^{_CONTROL}]*$", max_length=4096)]
Name = Annotated[str, StringConstraints(pattern=r"^[!-~]([ -~]*[!-~])?$", max_length=64)]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=64)]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Whole = Annotated[int, Strict()]
Real = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Flag = Annotated[bool, Strict()]
Value = Annotated[Real, Field(ge=-1e15, le=1e15)]
Seconds = Annotated[Whole, Field(ge=1, le=30 * _DAY)]
Scalar = Flag | Annotated[Whole, Field(ge=-(2**53), le=2**53)] | Value | Line
Parameter = Scalar | Annotated[tuple[Scalar, ...], Field(max_length=256)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class StudySection(_Section):
    """What the study is about."""

    name: Slug
    description: Prose = ""
    task: Literal["binary", "multiclass", "regression"]


class Feature(_Section):
    """One column of the data. Values outside `range`, or not one of `categories`, are refused at the site."""

    name: Name
    unit: Annotated[Line, Field(max_length=32)] = ""
    range: tuple[Value, Value] | None = None
    categories: Annotated[tuple[Value, ...], Field(max_length=256)] = ()

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.range is not None and self.range[0] >= self.range[1]:
            raise ValueError("range must be [low, high] with low < high")
        if len(set(self.categories)) != len(self.categories):
            raise ValueError("categories must differ from each other")
        return self


class DataSection(_Section):
    """The schema that every site's data must fit: named `features`, or arrays of a `shape` (channels first)."""

    features: Annotated[tuple[Feature, ...], Field(max_length=1024)] = ()
    shape: Annotated[tuple[Annotated[Whole, Field(ge=1, le=1 << 24)], ...], Field(max_length=4)] = ()
    label: Name = "label"
    classes: Annotated[tuple[Name, ...], Field(max_length=1024)] = ()
    standardise: Flag = True

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.features) == bool(self.shape):
            raise ValueError("give either features or shape")
        names = [feature.name for feature in self.features]
        if len(set(names)) != len(names):
            raise ValueError("features must have different names")
        if self.label in names:
            raise ValueError("label must not be one of the features")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes must differ from each other")
        return self

    @property
    def columns(self) -> int:
        """Number of columns that are standardised: one for each feature, or for each channel."""
        return len(self.features) or self.shape[0]


class ModelSection(_Section):
    """The model: an architecture by its name in the registry, its parameters, and the blob of its first weights."""

    architecture: Word
    parameters: Annotated[dict[Word, Parameter], Field(max_length=64)] = {}
    initial: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")] = ""


class TrainingSection(_Section):
    """How each site trains in each round. One of `local_epochs` and `local_steps` is 0: the other one counts."""

    rounds: Annotated[Whole, Field(ge=1, le=65_534)]
    local_epochs: Annotated[Whole, Field(ge=0, le=10_000)] = 0
    local_steps: Annotated[Whole, Field(ge=0, le=1_000_000)] = 0
    batch_size: Annotated[Whole, Field(ge=1, le=1 << 20)] = 32
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: Annotated[Real, Field(gt=0, le=1000)]
    momentum: Annotated[Real, Field(ge=0, lt=1)] = 0.0
    weight_decay: Annotated[Real, Field(ge=0, le=1000)] = 0.0
    loss: Literal["default", "binary_cross_entropy", "cross_entropy", "mean_squared_error"] = "default"
    seed: Annotated[Whole, Field(ge=0, le=2**63 - 1)] = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.local_epochs) == bool(self.local_steps):
            raise ValueError("give either local_epochs or local_steps")
        if self.momentum and self.optimizer != "sgd":
            raise ValueError("momentum belongs to the optimizer sgd")
        return self


class MergeSection(_Section):
    """How updates become a model. `clip_norm` bounds the L2 norm of one update, `weight_cap` its sample weight."""

    rule: Literal["mean"] = "mean"
    clip_norm: Annotated[Real, Field(gt=0, le=1e9)]
    weight_cap: Annotated[Whole, Field(ge=1, le=2**32 - 1)] = 1_000_000
    scale_bits: Annotated[Whole, Field(ge=0, le=30)] = 24
    dtype: Literal["int32", "int16"] = "int32"

    @field_validator("clip_norm")
    @classmethod
    def _whole_millionths(cls, value: float) -> float:
        if round(value * MICRO) / MICRO != value:
            raise ValueError("must be a whole number of millionths: that is what the ledger records")
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.weight_cap > max_weight_cap(self.dtype):
            raise ValueError(
                f"weight_cap must be at most {max_weight_cap(self.dtype)}: "
                f"with more, the sum of {MAX_SITES} {self.dtype} updates could overflow 64 bits"
            )
        MergeRule((), self.dtype, self.scale_bits, self.bound, self.weight_cap)
        return self

    @property
    def clip_micro(self) -> int:
        """The clip norm in millionths, as the ledger records it."""
        return round(self.clip_norm * MICRO)

    @property
    def bound(self) -> int:
        """Largest L2 norm of a quantised update."""
        return clip_bound(self.clip_micro, self.scale_bits)


class PrivacySection(_Section):
    """How updates are treated before they leave a site.

    `bound` clips them and does nothing else. `min_samples` is the fewest records that a site must hold for anything
    computed from them to leave it.
    """

    mode: str = "bound"
    epsilon_budget: Annotated[Real, Field(ge=0, le=1e6)] = 0.0
    min_samples: Annotated[Whole, Field(ge=1, le=1_000_000)] = 10

    @field_validator("mode")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in PRIVACY_MODES:
            raise ValueError(
                f"{value!r} is no privacy treatment of this version, which has: {', '.join(PRIVACY_MODES)}"
            )
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.mode == "bound" and self.epsilon_budget:
            raise ValueError("epsilon_budget must be 0 where mode is 'bound': it has no differential privacy to spend")
        return self

    @property
    def epsilon_micro(self) -> int:
        """The budget in millionths, as the ledger enforces it."""
        return round(self.epsilon_budget * MICRO)


class RoundSection(_Section):
    """How many sites make a round, who must agree, and how long each phase may last."""

    min_sites: Annotated[Whole, Field(ge=1, le=MAX_SITES)]
    quorum: Annotated[Real, Field(gt=0.5, le=1)] = 0.6667
    accept_seconds: Seconds = 7 * _DAY
    collect_seconds: Seconds = 3600
    grace_seconds: Annotated[Whole, Field(ge=0, le=30 * _DAY)] = 60
    merge_seconds: Seconds = 600
    review_seconds: Seconds = 600
    retention_rounds: Annotated[Whole, Field(ge=1, le=65_535)] = 2

    @field_validator("quorum")
    @classmethod
    def _whole_basis_points(cls, value: float) -> float:
        if round(value * _BASIS_POINTS) / _BASIS_POINTS != value:
            raise ValueError("must have at most four decimals: that is what the ledger records")
        return value

    @property
    def quorum_bps(self) -> int:
        """The quorum in ten-thousandths."""
        return round(self.quorum * _BASIS_POINTS)


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
    weight_cap: int
    epsilon_budget: int
    clip_bound: int


class StudySpec(_Section):
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
            record = json.loads(data)
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
