"""A model's card: what it is for, how it came to be and by whom, as the ledger has it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from ledger.state import RoundState, StudyState
from ledger.types import Address, seats_of
from node.operator.desk import Desk
from node.operator.inspection import in_words
from node.printable import printable
from swarm.merge import Exclusion
from swarm.spec import Feature, StudySpec

Result = Mapping[str, Any] | None


def card(desk: Desk, study: StudyState, spec: StudySpec, result: Result, deployable: Result = None) -> str:
    """Write the card in Markdown; `result` is this site's own evaluation, where it has one.

    `deployable` says of a file for other programs its `name`, `form`, and the largest `difference` that was found.
    """
    parts = (
        _head(desk, study, spec),
        _inputs(spec, deployable),
        _sites(desk, study),
        _history(desk, study),
        _own(result),
    )
    return "\n".join(line for part in parts for line in part) + "\n"


def _head(desk: Desk, study: StudyState, spec: StudySpec) -> Iterator[str]:
    deployment = desk.ledger.deployment
    ended = datetime.fromtimestamp(study.ended.timestamp, UTC).strftime("%Y-%m-%d") if study.ended else "-"
    yield f"# {spec.study.name}"
    yield ""
    yield f"* model: `{(study.final_output or b'').hex()}` (`swarm-node model verify` computes it)"
    yield f"* study {study.number}, specification `{study.spec_hash.hex()}`, finished {ended}"
    yield f"* chain {deployment.chain_id}, genesis `{deployment.genesis.hex()}`, contract `{deployment.study}`"
    yield ""
    for about, says in in_words(spec):
        yield f"* **{about}**: {says}"
    yield ""


def _inputs(spec: StudySpec, deployable: Result) -> Iterator[str]:
    yield "## What goes in, and what comes out"
    yield ""
    if deployable is not None:
        yield (
            f"`{deployable['name']}` ({deployable['form']}) takes raw values, float32, as the input `features`; it "
            "standardises them itself. On random inputs its outputs differed from the model's by "
            f"{deployable['difference']:.1g} at most."
        )
        yield ""
    if spec.model.custom:
        yield "What its sites' own programs make of it: the study knows the model's tensors alone."
    elif spec.data.shape:
        yield f"In: arrays [records, {', '.join(map(str, spec.data.shape))}], channels first."
    else:
        yield f"In: [records, {len(spec.data.features)}], in this order:"
        yield ""
        yield "| column | unit | values |"
        yield "|---|---|---|"
        for feature in spec.data.features:
            yield f"| {_cell(feature.name)} | {_cell(feature.unit) or '-'} | {_values(feature)} |"
    yield ""
    if not spec.model.custom:
        yield _outputs(spec)
        yield ""


def _outputs(spec: StudySpec) -> str:
    if not spec.data.classes:
        return f"Out: `prediction` [records], the predicted {_cell(spec.data.label)}."
    classes = ", ".join(map(_cell, spec.data.classes))
    return f"Out: `probabilities` [records, {len(spec.data.classes)}], in this order: {classes}."


def _values(feature: Feature) -> str:
    if feature.categories:
        return "one of " + ", ".join(f"{value:g}" for value in feature.categories)
    return "any" if feature.range is None else f"{feature.range[0]:g} to {feature.range[1]:g}"


def _cell(text: str) -> str:
    return str(printable(text)).replace("|", "\\|").replace("\n", " ")


def _sites(desk: Desk, study: StudyState) -> Iterator[str]:
    merged, led = Counter[Address](), Counter[Address]()
    weights: dict[Address, int] = {}
    rounds = [one for one in study.rounds if one.number > 0 and one.final is not None]
    for one in rounds:
        led[one.terms[-1].leader] += 1
        for account, weight in _merged(study, one):
            merged[account] += 1
            weights[account] = weight
    yield "## Who trained it"
    yield ""
    yield "| site | account | rounds merged | rounds led | training records told last |"
    yield "|---|---|---|---|---|"
    for account in study.sites:
        name = _cell(desk.consortium.name_of(account))
        part = f"{merged[account]} of {len(rounds)} | {led[account]} | {weights.get(account, '-')}"
        yield f"| {name} | `{account}` | {part} |"
    yield ""


def _merged(study: StudyState, one: RoundState) -> Iterator[tuple[Address, int]]:
    for seat in seats_of(one.final.merged if one.final is not None else 0):
        yield study.participant_at(seat).account, one.commits[seat].commitment.weight


def _history(desk: Desk, study: StudyState) -> Iterator[str]:
    yield "## What went wrong on the way"
    yield ""
    incidents = [line for one in study.rounds for line in _incidents(desk, study, one)]
    yield from incidents or ["Nothing: every round's first leader merged all that was committed."]
    yield ""


def _incidents(desk: Desk, study: StudyState, one: RoundState) -> Iterator[str]:
    for term in one.terms:
        if term.fault is not None:
            fault = term.fault.name.lower().replace("_", " ")
            yield f"* round {one.number}: the leader {desk.consortium.name_of(term.leader)} failed: {fault}"
    for seat, reason in one.left_out.items() if one.terms else ():
        known = Exclusion(reason).name.lower() if reason in set(Exclusion) else str(reason)
        yield f"* round {one.number}: {desk.name_at(study, seat)} was left out: {known.replace('_', ' ')}"


def _own(result: Result) -> Iterator[str]:
    yield "## How it does on this site's own test data"
    yield ""
    metrics = (result or {}).get("metrics")
    if not isinstance(metrics, Mapping):
        yield "Not measured at this site."
        return
    for name, value in metrics.items():
        if isinstance(value, Mapping) and name == "support":
            yield f"* records: {', '.join(f'{count} {label}' for label, count in value.items())}"
        elif isinstance(value, float):
            yield f"* {name.replace('_', ' ')}: {value:.4g}"
