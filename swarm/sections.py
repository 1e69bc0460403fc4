"""The sections of a study specification: every field bounded, wrong ones named."""

from math import prod
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
    field_validator,
    model_validator,
)

from swarm.fixed import MICRO, clip_bound
from swarm.manifest import MAX_DIMENSIONS, MAX_ELEMENTS, MAX_NAME, RESERVED_NAME, Layout, TensorShape
from swarm.merge import MAX_SITES, MergeRule, max_weight_cap

PRIVACY_MODES = ("bound",)
CUSTOM = "custom"
"""The architecture of a model that only its sites' training loops know; the study has its layout."""
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
Tensor = Annotated[str, StringConstraints(pattern=r"^[ -~]+$", max_length=MAX_NAME)]
Shape = Annotated[tuple[Annotated[Whole, Field(ge=1, le=MAX_ELEMENTS)], ...], Field(max_length=MAX_DIMENSIONS)]


class Section(BaseModel):
    """A part of a specification: it doesn't change, and holds no field that we don't know."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class StudySection(Section):
    """What the study is about."""

    name: Slug
    description: Prose = ""
    task: Literal["binary", "multiclass", "regression"]


class Feature(Section):
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


class DataSection(Section):
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


class ModelSection(Section):
    """The model: an architecture by its name in the registry, its parameters, and the blob of its first weights.

    The architecture `custom` is none of the registry: `layout` has the shape of each of its tensors by name, and that
    is all that the study knows of it.
    """

    architecture: Word
    parameters: Annotated[dict[Word, Parameter], Field(max_length=64)] = {}
    layout: Annotated[dict[Tensor, Shape], Field(max_length=4096)] = {}
    initial: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")] = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.custom != bool(self.layout):
            raise ValueError("layout: a custom model has the shapes of its tensors, and no other model has")
        if self.custom and self.parameters:
            raise ValueError("parameters: a custom model has none that a study could set")
        if RESERVED_NAME in self.layout:
            raise ValueError(f"layout: {RESERVED_NAME!r} is not a tensor's name: model files keep it for themselves")
        if sum(map(prod, self.layout.values())) > MAX_ELEMENTS:
            raise ValueError(f"layout: the model has more than {MAX_ELEMENTS} numbers")
        return self

    @property
    def custom(self) -> bool:
        """Whether the sites bring the model themselves."""
        return self.architecture == CUSTOM

    @property
    def tensors(self) -> Layout:
        """A custom model's tensors, sorted by name."""
        return tuple(TensorShape(name, self.layout[name]) for name in sorted(self.layout))


class TrainingSection(Section):
    """How each site trains in each round. One of `local_epochs` and `local_steps` is 0: the other one counts.

    With `max_local_steps` each site's own training loop may take from `local_steps` to as many, as it sees fit.
    """

    rounds: Annotated[Whole, Field(ge=1, le=65_534)]
    local_epochs: Annotated[Whole, Field(ge=0, le=10_000)] = 0
    local_steps: Annotated[Whole, Field(ge=0, le=1_000_000)] = 0
    max_local_steps: Annotated[Whole, Field(ge=0, le=1_000_000)] = 0
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
        if self.max_local_steps and not 0 < self.local_steps <= self.max_local_steps:
            raise ValueError("max_local_steps needs local_steps, which must not be more")
        if self.momentum and self.optimizer != "sgd":
            raise ValueError("momentum belongs to the optimizer sgd")
        return self


class MergeSection(Section):
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


class PrivacySection(Section):
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


class RoundSection(Section):
    """How many sites make a round, who must agree, and how long each phase may last.

    The ledger measures how long the phases of a study's rounds take. `collect_seconds`, `merge_seconds` and
    `review_seconds` hold until it has, and then are the most that a phase may last; a phase has about four times what
    it lately took, `least_seconds` at least. A least time as long as the others makes them constants.
    """

    min_sites: Annotated[Whole, Field(ge=1, le=MAX_SITES)]
    quorum: Annotated[Real, Field(gt=0.5, le=1)] = 0.6667
    accept_seconds: Seconds = 7 * _DAY
    collect_seconds: Seconds = 3600
    grace_seconds: Annotated[Whole, Field(ge=0, le=30 * _DAY)] = 60
    merge_seconds: Seconds = 600
    review_seconds: Seconds = 600
    least_seconds: Seconds = 10
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
