"""An operator's policy: what studies may do with this site's data. It has the last word, whoever agreed to what.

`policy.toml` in the site's folder; without it, or where it doesn't speak of something, everything is allowed that a
study can ask for. It can only forbid.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from node.errors import ConfigurationError, StudyRefused
from swarm.spec import StudySpec

MAX_POLICY_BYTES = 64 * 1024
Names = Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=1024)]
Whole = Annotated[int, Field(strict=True, ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Policy(BaseModel):
    """The rules; each is off where it is not given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    privacy_modes: Names | None = Field(default=None, description="Treatments under which updates may leave.")
    max_epsilon: Annotated[float, Field(ge=0)] | None = Field(default=None, description="Largest epsilon budget.")
    min_samples: Whole | None = Field(default=None, description="What a study's own min_samples must be at least.")
    max_clip_norm: Positive | None = Field(default=None, description="Largest norm of one update.")
    max_rounds: Whole | None = Field(default=None, description="Most rounds.")
    max_local_epochs: Whole | None = Field(default=None, description="Most passes over the data in one round.")
    max_local_steps: Whole | None = Field(default=None, description="Most training steps in one round.")
    min_sites: Whole | None = Field(default=None, description="Fewest sites that a merge must be made of.")
    architectures: Names | None = Field(default=None, description="Models that may be trained.")
    features: Names | None = Field(default=None, description="Columns that studies may read, the label included.")
    arrays: bool = Field(default=True, description="Whether studies of images and other arrays are allowed.")


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule that a study breaks, by its name in the policy file, and how."""

    rule: str
    says: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.says}"


def load(home: Path) -> Policy:
    """Read a site's policy; an empty one where there is no file. Raises ConfigurationError naming the field."""
    path = home / "policy.toml"
    try:
        if path.stat().st_size > MAX_POLICY_BYTES:
            raise ConfigurationError(f"{path} is larger than {MAX_POLICY_BYTES} bytes")
        return Policy.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Policy()
    except OSError as error:
        raise ConfigurationError(f"can't read {path}: {error.strerror}") from None
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise ConfigurationError(f"{path}: {faults}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from None


def refuse_breaches(policy: Policy, spec: StudySpec) -> None:
    """Raise StudyRefused where a study breaks the policy, naming each rule."""
    if found := breaches(policy, spec):
        raise StudyRefused(f"this site's policy forbids it: {'; '.join(map(str, found))}")


def breaches(policy: Policy, spec: StudySpec) -> list[Breach]:
    """Hold a study against the policy; empty where it may run here."""
    return [
        *_not_among("privacy_modes", "its privacy treatment", [spec.privacy.mode], policy.privacy_modes),
        *_over("max_epsilon", "its epsilon budget", spec.privacy.epsilon_budget, policy.max_epsilon),
        *_under("min_samples", "its min_samples", spec.privacy.min_samples, policy.min_samples),
        *_over("max_clip_norm", "its clip norm", spec.merge.clip_norm, policy.max_clip_norm),
        *_over("max_rounds", "its number of rounds", spec.training.rounds, policy.max_rounds),
        *_over("max_local_epochs", "its epochs in a round", spec.training.local_epochs, policy.max_local_epochs),
        *_over("max_local_steps", "its steps in a round", _steps(spec), policy.max_local_steps),
        *_under("min_sites", "the sites that a merge needs", spec.round.min_sites, policy.min_sites),
        *_not_among("architectures", "its model", [spec.model.architecture], policy.architectures),
        *_not_among("features", "a column that it reads", _columns(spec), policy.features),
        *([Breach("arrays", "it reads images or other arrays")] if spec.data.shape and not policy.arrays else []),
    ]


def _steps(spec: StudySpec) -> int:
    return max(spec.training.local_steps, spec.training.max_local_steps)


def _columns(spec: StudySpec) -> list[str]:
    return [*(feature.name for feature in spec.data.features), spec.data.label]


def _over(rule: str, what: str, value: float, most: float | None) -> list[Breach]:
    if most is None or value <= most:
        return []
    return [Breach(rule, f"{what} is {value:g}; at most {most:g} is allowed")]


def _under(rule: str, what: str, value: float, least: float | None) -> list[Breach]:
    if least is None or value >= least:
        return []
    return [Breach(rule, f"{what} is {value:g}; at least {least:g} is asked for")]


def _not_among(rule: str, what: str, values: list[str], allowed: list[str] | None) -> list[Breach]:
    if allowed is None:
        return []
    return [Breach(rule, f"{what} is {value!r}, which is not allowed") for value in values if value not in allowed]
