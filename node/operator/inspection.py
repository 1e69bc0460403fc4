"""What a study would do at this site, in plain words, and how it differs from one agreed to before."""

from collections.abc import Iterator, Mapping
from typing import Any

from ledger.state.election import quorum
from swarm.manifest import layout_elements
from swarm.spec import StudySpec

_TASKS = {"binary": "tell two classes apart", "multiclass": "tell classes apart", "regression": "predict a number"}
_FEATURES_SHOWN = 8
_LEAVES = {
    "bound": "It is clipped to an L2 norm of {clip:g} and rounded to fixed-point numbers. Nothing is added to it, and "
    "it is not encrypted against the other sites: each of them sees this site's update, from which details of its "
    "training data may be inferred.",
}


def in_words(spec: StudySpec) -> list[tuple[str, str]]:
    """Say what will run on this site's data, what leaves it, under which privacy, and by whose consent."""
    rounds = spec.round
    classes = f" ({', '.join(spec.data.classes)})" if spec.data.classes else ""
    return [
        ("purpose", f"{_TASKS[spec.study.task]}{classes}. {' '.join(spec.study.description.split())}"),
        ("reads", f"{_reads(spec)}; at least {spec.privacy.min_samples} training records, or nothing leaves"),
        ("runs", _runs_custom(spec) if spec.model.custom else _runs(spec)),
        ("leaves", _leaves(spec)),
        ("privacy", _LEAVES[spec.privacy.mode].format(clip=spec.merge.clip_norm)),
        (
            "agreement",
            f"a merge needs {rounds.min_sites} sites; a model is final when {rounds.quorum:.0%} of those who took part "
            f"in the round recomputed it ({quorum(3, rounds.quorum_bps)} of 3, {quorum(10, rounds.quorum_bps)} of 10)",
        ),
        (
            "time",
            f"updates within {_span(rounds.collect_seconds)}, a leader merges within {_span(rounds.merge_seconds)}, "
            f"reviews within {_span(rounds.review_seconds)}, and within four times what the study's own rounds took "
            f"where that is less, but never less than {_span(rounds.least_seconds)}; the proposal is open for "
            f"{_span(rounds.accept_seconds)}",
        ),
        ("stays", f"updates are deleted {rounds.retention_rounds} rounds later; final models stay with the members"),
    ]


def differences(before: StudySpec, after: StudySpec) -> list[tuple[str, str, str]]:
    """Each field whose value differs, with both values; not the initial model's hash, which follows from the others."""
    old, new = dict(_flat(before.model_dump(mode="json"))), dict(_flat(after.model_dump(mode="json")))
    changed = [name for name in (*old, *(name for name in new if name not in old)) if old.get(name) != new.get(name)]
    return [(name, _shown(old, name), _shown(new, name)) for name in changed if name != "model.initial"]


def _reads(spec: StudySpec) -> str:
    if spec.data.shape:
        return f"arrays of {' x '.join(map(str, spec.data.shape))} (channels first), and the column {spec.data.label!r}"
    names = [f"{feature.name}{f' [{feature.unit}]' if feature.unit else ''}" for feature in spec.data.features]
    shown = ", ".join(names[:_FEATURES_SHOWN])
    more = f" and {len(names) - _FEATURES_SHOWN} more" if len(names) > _FEATURES_SHOWN else ""
    return f"{len(names)} columns ({shown}{more}), and the label {spec.data.label!r}"


def _runs(spec: StudySpec) -> str:
    training = spec.training
    parameters = ", ".join(f"{name} {_text(value)}" for name, value in sorted(spec.model.parameters.items()))
    return (
        f"the program's own training of a {spec.model.architecture!r} model"
        f"{f' ({parameters})' if parameters else ''}: {training.rounds} rounds of {_amount(spec)}, batches of "
        f"{training.batch_size}, {training.optimizer} at {training.learning_rate:g}. The study brings no code."
    )


def _runs_custom(spec: StudySpec) -> str:
    tensors = spec.model.tensors
    return (
        f"this site's own training loop, which its operator starts, on a model of {layout_elements(tensors):,} numbers "
        f"in {len(tensors)} tensors: {spec.training.rounds} rounds of {_amount(spec)}. The loop reads and prepares its "
        "data itself; the columns named above are what the study expects of it, and optimizer, learning rate and "
        "batches are the loop's affair. The study brings no code."
    )


def _amount(spec: StudySpec) -> str:
    training = spec.training
    if training.local_epochs:
        return f"{training.local_epochs} epochs"
    most = f" to {training.max_local_steps}" if training.max_local_steps else ""
    return f"{training.local_steps}{most} steps"


def _leaves(spec: StudySpec) -> str:
    statistics = "once, the count, sums and sums of squares of each column; then " if spec.data.standardise else ""
    return (
        f"{statistics}in every round, one update of the model's weights and the number of training records "
        f"(at most {spec.merge.weight_cap:,} is told). No record leaves."
    )


def _flat(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}.")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping) and "name" in value[0]:
            for item in value:
                set_fields = {
                    key: entry for key, entry in item.items() if key != "name" and entry not in (None, "", [])
                }
                said = ", ".join(f"{key} {_text(entry)}" for key, entry in set_fields.items())
                yield f"{path}.{item['name']}", said or "any value"
        else:
            yield path, value


def _shown(fields: Mapping[str, Any], name: str) -> str:
    return _text(fields[name]) if name in fields else "-"


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_text, value)) + "]"
    return "-" if value in (None, "") else str(value)


def _span(seconds: int) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds} seconds"
