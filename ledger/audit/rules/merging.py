"""What the models were made of: every merge again, every input left out, and the line from model to model."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Final

from ledger.audit.record import Record
from ledger.audit.verdict import Rule, Tally
from ledger.state import Commit, RoundState, StudyState
from ledger.types import seats_of
from swarm.blobs import BlobStore
from swarm.errors import BlobError, SwarmError
from swarm.merge import Exclusion, MergeRule, check_input, merge_updates
from swarm.moments import check_moments, merge_moments

DENIABLE: Final = (Exclusion.UNREACHABLE, Exclusion.MALFORMED)
"""Reasons that nobody can disprove later: the input may have been out of reach then."""


def _rule_of(record: Record) -> MergeRule | None:
    """The merge rule of the study; None where its specification or its initial model's layout isn't at hand."""
    spec = record.spec
    try:
        return spec.merge_rule(record.store.manifest(spec.initial).tensors) if spec is not None else None
    except SwarmError:
        return None


def _check_of(record: Record, number: int) -> Callable[[BlobStore, bytes], Exclusion | None] | None:
    """The check of an input of a round; None where what it needs isn't at hand."""
    spec, rule = record.spec, _rule_of(record)
    if spec is None or (number and rule is None):
        return None
    if number == 0:
        return lambda store, blob: check_moments(store, blob, spec.data.columns)
    return lambda store, blob: check_input(store, blob, rule) if rule is not None else None


def _finals(record: Record) -> Iterator[tuple[StudyState, RoundState]]:
    study = record.subject
    if study is not None:
        yield from ((study, one) for one in study.rounds if one.final is not None)


def base_of(record: Record, study: StudyState, number: int) -> bytes | None:
    """The model that a round starts from."""
    if number == 0 or record.spec is None:
        return None
    return record.spec.initial if number == 1 else study.output_of(number - 1)


def judge_merge(record: Record) -> Tally:
    """Merge every round's inputs again."""
    tally, missing = Tally(), 0
    for study, one in _finals(record):
        if one.final is None:
            continue
        where_ = {"round": one.number, "block": one.final.at.block, "site": one.terms[-1].leader if one.terms else None}
        try:
            output = _merged(record, study, one)
        except (BlobError, OSError):
            missing += 1
            continue
        except SwarmError as error:
            tally.check(False, f"the inputs on record can't be merged: {error}", **where_)
            continue
        if output is None:
            missing += 1
            continue
        what = f"the inputs on record make {output.hex()[:16]}, and {one.final.output.hex()[:16]} is final"
        tally.check(output == one.final.output, what, **where_)
    if missing:
        tally.leave_open(
            f"{missing} rounds can't be merged again: their inputs or base aren't at hand (sites delete updates when "
            "the study's retention is over)"
        )
    tally.figures = {"recomputed": tally.checked, "not at hand": missing}
    tally.said = f"{tally.checked} outputs made again from their inputs, byte for byte the same"
    return tally


def _merged(record: Record, study: StudyState, one: RoundState) -> bytes | None:
    """The output that a round's inputs make; None where something needed isn't at hand."""
    seats = list(seats_of(one.final.merged)) if one.final is not None else []
    if any(seat not in one.commits for seat in seats):
        return bytes(32)
    commits = [one.commits[seat].commitment for seat in seats]
    if not all(record.store.has(commit.blob) for commit in commits):
        return None
    if one.number == 0:
        return merge_moments(record.store, [commit.blob for commit in commits]).blob
    base, rule = base_of(record, study, one.number), _rule_of(record)
    if base is None or rule is None or not record.store.has(base):
        return None
    return merge_updates(record.store, base, [(commit.blob, commit.weight) for commit in commits], rule).blob


def judge_exclusions(record: Record) -> Tally:
    """Look at every input that was left out, and at every one that was merged, as far as they are at hand."""
    tally, unseen = Tally(), 0
    by_leader: dict[str, Counter[str]] = defaultdict(Counter)
    for _, one in _finals(record):
        publication, final = one.terms[-1].publication, one.final
        if publication is None or final is None:
            continue
        leader, check = one.terms[-1].leader, _check_of(record, one.number)
        left_out = dict(zip(seats_of(one.committed & ~final.merged), publication.reasons, strict=False))
        for seat, reason in left_out.items():
            commit = one.commits[seat]
            place = {"round": one.number, "site": commit.site, "block": publication.at.block}
            known = tally.check(
                reason in set(Exclusion), f"it was left out for no reason that there is ({reason})", **place
            )
            name = Exclusion(reason).name.lower() if known else str(reason)
            by_leader[record.name(leader)][f"{record.name(commit.site)}: {name}"] += 1
            finding = _finding(record, commit, check)
            if finding is _NOT_AT_HAND:
                unseen += reason not in DENIABLE
            elif finding is None and reason not in DENIABLE:
                tally.check(False, f"it was left out as {name}, and nothing is wrong with it", **place)
        for seat in seats_of(final.merged):
            merged = one.commits.get(seat)
            finding = _finding(record, merged, check) if merged is not None else None
            if merged is not None and isinstance(finding, Exclusion):
                place = {"round": one.number, "site": merged.site, "block": final.at.block}
                tally.check(False, f"it was merged, and is {finding.name.lower()}", **place)
            tally.checked += 1
    if unseen:
        tally.leave_open(
            f"{unseen} inputs that were left out for a fault aren't at hand: the fault can't be seen again"
        )
    tally.figures = {leader: dict(sites) for leader, sites in by_leader.items()}
    total = sum(sum(sites.values()) for sites in by_leader.values())
    tally.said = f"{total} inputs were left out, each with a reason"
    return tally


class _NotAtHand:
    """An input that the record doesn't hold."""


_NOT_AT_HAND: Final = _NotAtHand()


def _finding(
    record: Record, commit: Commit, check: Callable[[BlobStore, bytes], Exclusion | None] | None
) -> Exclusion | _NotAtHand | None:
    blob = commit.commitment.blob
    try:
        return check(record.store, blob) if check is not None and record.store.has(blob) else _NOT_AT_HAND
    except (SwarmError, OSError):
        return _NOT_AT_HAND


def judge_model(record: Record) -> Tally | None:
    """Hold a model file against the ledger."""
    if record.model is None:
        return None
    tally, study = Tally(), record.subject
    final = study.final_output if study is not None else None
    rounds = [one.number for _, one in _finals(record) if one.final is not None and one.final.output == record.model]
    said = f"it is the model after round {rounds[0]}" if rounds else "it is no final model of this study"
    tally.check(record.model == final, f"the file's hash is {record.model.hex()}: {said}, not the study's final model")
    tally.said = f"the file is the final model of study {record.study}: {record.model.hex()}"
    return tally


def judge_lineage(record: Record) -> Tally:
    """Follow the final model back to the initial one."""
    tally, study = Tally(), record.subject
    finals = [one for _, one in _finals(record)]
    for before, after in pairwise(finals):
        tally.check(after.number == before.number + 1, f"round {before.number + 1} has no final output")
    for one in finals:
        merged = one.final.merged if one.final is not None else 0
        unknown = [seat for seat in seats_of(merged) if seat not in one.commits]
        tally.check(not unknown, f"seats {unknown} were merged without a commit", round=one.number)
    if study is not None and study.final_output is not None:
        last = finals[-1].final if finals else None
        same = last is not None and study.final_output == last.output
        tally.check(same, "the study's output isn't its last round's")
    tally.said = f"{len(finals)} final outputs, each made from the one before, back to the initial model"
    return tally


MERGE = Rule(
    "merge",
    "Every final output is made again from the committed inputs at their weights, by the study's merge rule.",
    "It is what shows that the model came of these inputs and of nothing else.",
    judge_merge,
    "no round is final",
)
EXCLUSIONS = Rule(
    "exclusions",
    "Every committed input that is not in a final output has a reason, which holds where the input is at hand.",
    "A leader that leaves sites out decides whose patients count.",
    judge_exclusions,
    "no round is final",
)
MODEL = Rule(
    "model",
    "The model file is the study's final model.",
    "It is the question that the audit is for.",
    judge_model,
)
LINEAGE = Rule(
    "lineage",
    "Every round has one final output, made of commits on record, and the last one is the study's.",
    "A model's history may have no gap.",
    judge_lineage,
    "no round is final",
)
