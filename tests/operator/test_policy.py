"""What an operator's policy forbids, rule by rule."""

from pathlib import Path

import pytest

from node import policy
from node.errors import ConfigurationError, StudyRefused
from node.policy import Policy
from swarm import studies
from swarm.spec import StudySpec
from tests.swarm.loop_samples import loop_spec

SPEC = studies.draft("breast-cancer")
RULES = {
    "privacy_modes": (["masked"], ["bound", "masked"]),
    "max_epsilon": (None, 0.0),
    "min_samples": (10, 5),
    "max_clip_norm": (0.25, 0.5),
    "max_rounds": (11, 12),
    "max_local_epochs": (None, 1),
    "max_local_steps": (None, 1),
    "min_sites": (4, 3),
    "architectures": (["logistic"], ["mlp"]),
    "features": (["mean radius"], [*(feature.name for feature in SPEC.data.features), "diagnosis"]),
    "arrays": (None, False),
}


def test_every_rule_is_tried() -> None:
    assert RULES.keys() == Policy.model_fields.keys()


def test_no_policy_forbids_nothing(tmp_path: Path) -> None:
    assert policy.load(tmp_path) == Policy()
    assert policy.breaches(Policy(), SPEC) == []


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_forbids_what_is_beyond_it_and_nothing_else(rule: str) -> None:
    strict, fitting = RULES[rule]
    assert policy.breaches(Policy.model_validate({rule: fitting}), SPEC) == []
    if strict is not None:
        assert {breach.rule for breach in policy.breaches(Policy.model_validate({rule: strict}), SPEC)} == {rule}


def test_arrays_and_steps_too() -> None:
    record = SPEC.model_dump(mode="json")
    record["data"].update(features=[], shape=[1, 28, 28])
    record["training"].update(local_epochs=0, local_steps=50)
    spec = StudySpec.model_validate(record)
    found = policy.breaches(Policy(arrays=False, max_local_steps=49, max_local_epochs=1), spec)
    assert [breach.rule for breach in found] == ["max_local_steps", "arrays"]


def test_every_breach_is_named_at_once() -> None:
    with pytest.raises(StudyRefused, match=r"max_rounds: .* is 12; at most 3 is allowed; architectures: "):
        policy.refuse_breaches(Policy(max_rounds=3, architectures=["cnn"]), SPEC)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("max_rounds = 0", "max_rounds"),
        ("max_rounds = 'many'", "max_rounds"),
        ("max_epsilon = nan", "max_epsilon"),
        ("surprise = 1", "surprise"),
        ("max_rounds =", "not TOML"),
        ("a." * 40_000 + "b = 1", "larger than"),
    ],
)
def test_a_policy_that_can_not_be_read_allows_nothing(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "policy.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=named):
        policy.load(tmp_path)


def test_nor_does_one_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"policy\.toml"):
        policy.load(tmp_path)


def test_a_loop_that_may_choose_its_steps_is_held_to_the_most_that_it_may_take() -> None:
    spec = loop_spec(training={"max_local_steps": 6})
    assert policy.breaches(Policy(max_local_steps=6, architectures=["custom"]), spec) == []
    assert [breach.rule for breach in policy.breaches(Policy(max_local_steps=5), spec)] == ["max_local_steps"]
    assert [breach.rule for breach in policy.breaches(Policy(architectures=["mlp"]), spec)] == ["architectures"]
