import dataclasses
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.errors import SpecificationError
from swarm.manifest import TensorShape
from swarm.merge import max_weight_cap
from swarm.spec import MAX_SPEC_BYTES, StudySpec

INITIAL = "ab" * 32
TOML = """
[study]
name = "heart-disease"
description = "Is an artery narrowed?"
task = "binary"

[data]
features = ["age", { name = "chol", unit = "mg/dl", range = [0, 700] }, { name = "sex", categories = [0, 1] }]
label = "num"
classes = ["absent", "present"]

[model]
architecture = "mlp"
parameters = { hidden = [8, 4], dropout = 0.5, bias = true, activation = "relu" }
initial = "INITIAL"

[training]
rounds = 20
local_steps = 50
learning_rate = 0.05
seed = 7

[merge]
clip_norm = 1.5
weight_cap = 1000

[round]
min_sites = 3
quorum = 0.75
""".replace("INITIAL", INITIAL)
GOLDEN = (
    '{"data":{"classes":["absent","present"],"features":[{"categories":[],"name":"age","range":null,"unit":""},'
    '{"categories":[],"name":"chol","range":[0.0,700.0],"unit":"mg/dl"},{"categories":[0.0,1.0],"name":"sex",'
    '"range":null,"unit":""}],"label":"num","shape":[],"standardise":true},"merge":{"clip_norm":1.5,"dtype":"int32",'
    '"rule":"mean","scale_bits":24,"weight_cap":1000},"model":{"architecture":"mlp","initial":"' + INITIAL + '",'
    '"layout":{},"parameters":{"activation":"relu","bias":true,"dropout":0.5,"hidden":[8,4]}},"privacy":{"epsilon_budget":0.0,'
    '"min_samples":10,"mode":"bound"},"round":{"accept_seconds":604800,"collect_seconds":3600,"grace_seconds":60,'
    '"least_seconds":10,"merge_seconds":600,"min_sites":3,"quorum":0.75,"retention_rounds":2,"review_seconds":600},'
    '"study":{"description":"Is an artery narrowed?","name":"heart-disease","task":"binary"},"training":{'
    '"batch_size":32,"learning_rate":0.05,"local_epochs":0,"local_steps":50,"loss":"default",'
    '"max_local_steps":0,"momentum":0.0,"optimizer":"sgd",'
    '"rounds":20,"seed":7,"weight_decay":0.0},"version":1}'
).encode()


def _spec(**sections: dict[str, Any]) -> StudySpec:
    record = json.loads(GOLDEN)
    for name, changes in sections.items():
        record[name] |= changes
    return StudySpec.from_json(StudySpec.model_validate(record).canonical(draft=True))


def test_golden_bytes_and_hash() -> None:
    spec = StudySpec.from_toml(TOML)
    assert spec.canonical() == GOLDEN
    assert spec.hash == hashlib.sha256(GOLDEN).digest()
    assert StudySpec.from_json(GOLDEN) == spec
    assert spec.initial == bytes.fromhex(INITIAL)


def test_texts_may_have_lines_and_any_script() -> None:
    assert _spec(study={"description": "Étude\n\tcœur ♥"}, data={"features": [{"name": "a", "unit": "µg/l"}]})


def test_how_a_number_is_written_does_not_matter_to_its_hash() -> None:
    for same in (TOML.replace("0.05", "5e-2"), TOML.replace("0.75", "0.750"), TOML.replace("[0, 700]", "[0.0, 7e2]")):
        assert StudySpec.from_toml(same).hash == hashlib.sha256(GOLDEN).digest()


names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp"]), max_size=40)


@settings(deadline=None)
@given(
    description=texts,
    features=st.lists(names.filter(lambda name: name != "num"), min_size=1, max_size=5, unique=True),
    rate=st.floats(1e-300, 1000, exclude_min=True),
    clip=st.integers(1, 10**8),
    parameters=st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True),
        st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e15, 1e15) | texts,
        max_size=4,
    ),
    quorum=st.integers(5001, 10000),
)
def test_any_specification_comes_back(
    description: str, features: list[str], rate: float, clip: int, parameters: dict[str, Any], quorum: int
) -> None:
    spec = _spec(
        study={"description": description},
        data={"features": [{"name": name} for name in features]},
        model={"parameters": parameters},
        training={"learning_rate": rate},
        merge={"clip_norm": clip / 10**6},
        round={"quorum": quorum / 10**4},
    )
    data = spec.canonical()
    assert data.isascii()
    assert StudySpec.from_json(data) == spec
    assert StudySpec.from_json(data).canonical() == data
    assert (spec.terms().clip_bound, spec.terms().quorum_bps) == (clip, quorum)
    assert spec.merge.bound == clip * 2**24 // 10**6


def test_terms_are_the_contracts_in_its_order() -> None:
    source = (Path(__file__).parents[2] / "contracts/src/IStudy.sol").read_text()
    body = re.search(r"struct Terms \{(.*?)\}", source, re.DOTALL)
    assert body is not None
    fields = re.findall(r"(\w+);", body[1])
    terms = StudySpec.from_toml(TOML).terms()
    assert [
        re.sub(r"_(\w)", lambda match: match[1].upper(), field.name) for field in dataclasses.fields(terms)
    ] == fields
    assert dataclasses.astuple(terms) == (20, True, 3, 7500, 604800, 3600, 60, 600, 600, 10, 1000, 0, 1_500_000)


def test_the_rule_of_the_merge() -> None:
    layout = (TensorShape("w", (3,)),)
    rule = StudySpec.from_toml(TOML).merge_rule(layout)
    assert (rule.layout, rule.dtype, rule.scale_bits, rule.bound, rule.weight_cap) == (
        layout,
        "int32",
        24,
        3 << 23,
        1000,
    )


def test_a_draft_can_be_kept_but_not_proposed() -> None:
    draft = StudySpec.from_toml(TOML.replace(INITIAL, ""))
    acts: list[Callable[[], object]] = [draft.canonical, lambda: draft.hash, lambda: draft.initial]
    for act in acts:
        with pytest.raises(SpecificationError, match=r"^model\.initial: "):
            act()
    assert StudySpec.from_json(draft.canonical(draft=True)) == draft
    assert draft.with_initial(bytes.fromhex(INITIAL)).canonical() == GOLDEN


def test_arrays_instead_of_features() -> None:
    spec = _spec(data={"features": [], "shape": [3, 28, 28]})
    assert spec.data.columns == 3
    assert _spec().data.columns == 3


@pytest.mark.parametrize(
    ("section", "changes", "complaint"),
    [
        ("study", {"name": "Heart Disease"}, "study.name: "),
        ("study", {"task": "ranking"}, "study.task: "),
        ("study", {"description": "x" * 4097}, "study.description: "),
        ("study", {"extra": 1}, "study.extra: "),
        ("study", {"description": "\x1b[2J"}, "study.description: "),
        ("study", {"description": "\u202e"}, "study.description: "),
        ("study", {"description": "\ud800"}, "study.description: "),
        ("data", {"features": [{"name": "a", "unit": "mg\n"}]}, "data.features.0.unit: "),
        ("model", {"parameters": {"a": "\r"}}, "model.parameters.a"),
        ("data", {"features": []}, "data: give either features or shape"),
        ("data", {"shape": [3]}, "data: give either features or shape"),
        ("data", {"features": ["a", "a"]}, "data: features must have different names"),
        ("data", {"features": ["num"]}, "data: label must not be one of the features"),
        ("data", {"features": [{"name": "a", "range": [1, 1]}]}, "data.features.0: range must be [low, high]"),
        ("data", {"features": [{"name": "a", "range": [0, float("nan")]}]}, "data.features.0.range.1: "),
        ("data", {"features": [{"name": "a", "categories": [1, 1.0]}]}, "data.features.0: categories must differ"),
        ("data", {"features": [{"name": ""}]}, "data.features.0.name: "),
        ("data", {"features": [{"name": "a\n"}]}, "data.features.0.name: "),
        ("data", {"features": [f"f{index}" for index in range(1025)]}, "data.features: "),
        ("data", {"features": [], "shape": [0]}, "data.shape.0: "),
        ("data", {"classes": ["a"]}, "data.classes: a binary study has two classes, not 1"),
        ("data", {"classes": ["a", "a"]}, "data: classes must differ"),
        ("data", {"standardise": 1}, "data.standardise: "),
        ("model", {"architecture": "../mlp"}, "model.architecture: "),
        ("model", {"parameters": {"a": {"b": 1}}}, "model.parameters.a"),
        ("model", {"parameters": {"a": float("inf")}}, "model.parameters.a"),
        ("model", {"parameters": {"a": 2**60}}, "model.parameters.a"),
        ("model", {"initial": "AB" * 32}, "model.initial: "),
        ("model", {"initial": "ab" * 31}, "model.initial: "),
        ("training", {"rounds": 0}, "training.rounds: "),
        ("training", {"rounds": 65535}, "training.rounds: "),
        ("training", {"rounds": "20"}, "training.rounds: "),
        ("training", {"rounds": 20.0}, "training.rounds: "),
        ("training", {"rounds": True}, "training.rounds: "),
        ("training", {"local_epochs": 1}, "training: give either local_epochs or local_steps"),
        ("training", {"local_steps": 0}, "training: give either local_epochs or local_steps"),
        ("training", {"batch_size": 0}, "training.batch_size: "),
        ("training", {"learning_rate": 0.0}, "training.learning_rate: "),
        ("training", {"learning_rate": float("nan")}, "training.learning_rate: "),
        ("training", {"momentum": 1.0}, "training.momentum: "),
        ("training", {"optimizer": "adam", "momentum": 0.9}, "training: momentum belongs to the optimizer sgd"),
        ("training", {"optimizer": "lbfgs"}, "training.optimizer: "),
        ("training", {"weight_decay": -1.0}, "training.weight_decay: "),
        ("training", {"seed": -1}, "training.seed: "),
        ("training", {"loss": "mean_squared_error"}, "training.loss: mean_squared_error is no loss of a binary study"),
        ("merge", {"rule": "median"}, "merge.rule: "),
        ("merge", {"clip_norm": 0.0}, "merge.clip_norm: "),
        ("merge", {"clip_norm": 0.1234567}, "merge.clip_norm: must be a whole number of millionths"),
        ("merge", {"clip_norm": 128.0}, "merge: the clip bound is 2147483648 at this scale"),
        ("merge", {"clip_norm": 0.000001, "scale_bits": 0}, "merge: the clip bound is 0 at this scale"),
        ("merge", {"weight_cap": max_weight_cap("int32") + 1}, "merge: weight_cap must be at most 16777215"),
        ("merge", {"dtype": "int16"}, "merge: the clip bound is 25165824 at this scale"),
        ("merge", {"dtype": "float32"}, "merge.dtype: "),
        ("merge", {"scale_bits": 31}, "merge.scale_bits: "),
        ("privacy", {"mode": "masked"}, "privacy.mode: 'masked' is no privacy treatment of this version"),
        ("privacy", {"mode": ""}, "privacy.mode: "),
        ("privacy", {"epsilon_budget": 1.0}, "privacy: epsilon_budget must be 0 where mode is 'bound'"),
        ("privacy", {"min_samples": 0}, "privacy.min_samples: "),
        ("round", {"min_sites": 0}, "round.min_sites: "),
        ("round", {"min_sites": 257}, "round.min_sites: "),
        ("round", {"quorum": 0.5}, "round.quorum: "),
        ("round", {"quorum": 1.1}, "round.quorum: "),
        ("round", {"quorum": 0.66667}, "round.quorum: must have at most four decimals"),
        ("round", {"collect_seconds": 0}, "round.collect_seconds: "),
        ("round", {"least_seconds": 0}, "round.least_seconds: "),
        ("round", {"review_seconds": 31 * 86400}, "round.review_seconds: "),
        ("round", {"retention_rounds": 0}, "round.retention_rounds: "),
    ],
)
def test_names_the_field_that_is_wrong(section: str, changes: dict[str, Any], complaint: str) -> None:
    record = json.loads(GOLDEN)
    record[section] |= changes
    data = json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(SpecificationError) as caught:
        StudySpec.from_json(data)
    assert str(caught.value).startswith(complaint)


def test_names_every_field_that_is_wrong_or_missing() -> None:
    with pytest.raises(SpecificationError) as caught:
        StudySpec.from_toml(TOML.replace("rounds = 20", "").replace("quorum = 0.75", "quorum = 2"))
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == ["training.rounds", "round.quorum"]


@pytest.mark.parametrize(
    ("task", "classes", "ok"),
    [
        ("binary", 2, True),
        ("multiclass", 3, True),
        ("multiclass", 1, False),
        ("regression", 0, True),
        ("regression", 2, False),
    ],
)
def test_classes_belong_to_the_task(task: str, classes: int, ok: bool) -> None:
    changes: dict[str, dict[str, Any]] = {
        "study": {"task": task},
        "data": {"classes": [str(index) for index in range(classes)]},
    }
    if ok:
        assert _spec(**changes).study.task == task
    else:
        with pytest.raises(ValueError, match=r"data\.classes: "):
            _spec(**changes)


def test_a_loss_belongs_to_its_task() -> None:
    task: dict[str, Any] = {"study": {"task": "multiclass"}, "data": {"classes": ["a", "b", "c"]}}
    assert _spec(**task, training={"loss": "cross_entropy"}).training.loss == "cross_entropy"
    with pytest.raises(ValueError, match=r"training\.loss: "):
        _spec(**task, training={"loss": "binary_cross_entropy"})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 50_000,
        b"{" * (MAX_SPEC_BYTES + 1),
        GOLDEN + b"\n",
        GOLDEN.replace(b":20", b": 20"),
        GOLDEN.replace(b'"seed":7', b'"seed":7,"seed":7'),
        GOLDEN.replace(b'"seed":7,', b""),
        GOLDEN.replace(b"0.05", b"0.050"),
        GOLDEN.replace(b"0.05", b"5e-2"),
        GOLDEN.replace(b"700.0", b"700"),
        GOLDEN.replace(b"age", b"\\u0061ge"),
        GOLDEN.replace(b'"version":1', b'"version":2'),
        GOLDEN.replace(b'"version":1', b'"version":true'),
    ],
)
def test_only_canonical_json_is_read(data: bytes) -> None:
    with pytest.raises(SpecificationError):
        StudySpec.from_json(data)


@pytest.mark.parametrize("text", ["", "study", "a = [", "[study]\nname = 1979-05-27\n", "x = " + "[" * 5000])
def test_what_is_no_specification_at_all(text: str) -> None:
    with pytest.raises(SpecificationError):
        StudySpec.from_toml(text)


def test_a_specification_fits_the_ledger() -> None:
    features = [{"name": f"{index:064}", "unit": "x" * 32} for index in range(1000)]
    with pytest.raises(SpecificationError, match="at most 65536 fit the ledger"):
        _spec(data={"features": features})


def test_is_frozen() -> None:
    spec = StudySpec.from_toml(TOML)
    with pytest.raises(ValueError, match="frozen"):
        spec.training.rounds = 1


@pytest.mark.slow
def test_the_core_imports_without_torch() -> None:
    code = (
        "import sys, swarm.spec, swarm.moments, swarm.folder_store, swarm.model_file, swarm.privacy.egress;"
        "print(*{'torch', 'web3', 'trio', 'libp2p', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == ""


CUSTOM = {"architecture": "custom", "parameters": {}, "layout": {"b": [2], "a.weight": [2, 3], "scale": []}}


def _custom(**sections: dict[str, Any]) -> StudySpec:
    changes = {"model": CUSTOM, "data": {"standardise": False}}
    for name, fields in sections.items():
        changes[name] = {**changes.get(name, {}), **fields}
    return _spec(**changes)


def test_a_model_of_ones_own_is_described_by_its_layout_which_the_hash_covers() -> None:
    spec = _custom()
    assert spec.model.tensors == (TensorShape("a.weight", (2, 3)), TensorShape("b", (2,)), TensorShape("scale", ()))
    assert b'"layout":{"a.weight":[2,3],"b":[2],"scale":[]}' in spec.canonical()
    assert StudySpec.from_json(spec.canonical()) == spec
    other = _custom(model={"layout": {**CUSTOM["layout"], "b": [3]}})
    assert other.hash != spec.hash


@pytest.mark.parametrize(
    ("section", "changes", "complaint"),
    [
        ("model", {"layout": {}}, "layout: a custom model has the shapes of its tensors"),
        ("model", {"parameters": {"a": 1}}, "parameters: a custom model has none"),
        ("model", {"layout": {"a": [0]}}, "layout.a.0"),
        ("model", {"layout": {"a": [2.0]}}, "layout.a.0"),
        ("model", {"layout": {"a": [1 << 16, 1 << 16]}}, "more than 2147483648 numbers"),
        ("model", {"layout": {"a": [1] * 17}}, "layout.a"),
        ("model", {"layout": {"\n": [1]}}, "layout"),
        ("model", {"layout": {"": [1]}}, "layout"),
        ("model", {"layout": {"__metadata__": [1]}}, "is not a tensor's name"),
        ("model", {"architecture": "mlp"}, "layout: a custom model has"),
        ("data", {"standardise": True}, "data.standardise: must be false"),
        ("training", {"max_local_steps": 49}, "max_local_steps needs local_steps, which must not be more"),
        ("training", {"local_steps": 0, "local_epochs": 1, "max_local_steps": 9}, "max_local_steps needs local_steps"),
    ],
)
def test_what_is_wrong_with_a_custom_model_is_said(section: str, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        _custom(**{section: changes})


def test_only_a_loop_of_ones_own_can_choose_its_steps() -> None:
    with pytest.raises(ValueError, match=r"training\.max_local_steps: only a custom model"):
        _spec(training={"max_local_steps": 80})
