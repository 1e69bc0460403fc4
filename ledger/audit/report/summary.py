"""An audit as plain JSON values: what the envelope of a program holds, and what every report is made from."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from ledger.audit.audit import Audit, questions
from ledger.audit.record import Record
from ledger.audit.verdict import Finding, Verdict
from ledger.state import RoundState, StudyState, Term
from ledger.types import seats_of
from swarm.merge import Exclusion

SCHEMA: Final = 1


def summarise(audit: Audit, *, anchor: bytes | None, digest: str = "") -> dict[str, Any]:
    """Sum an audit up; `digest` names the bundle."""
    record, study = audit.record, audit.record.subject
    known = questions()
    return {
        "schema": SCHEMA,
        "conclusion": audit.conclusion.value,
        "sentence": audit.sentence(),
        "rules": [
            _rule(record, verdict, known[verdict.rule].checks, known[verdict.rule].why) for verdict in audit.verdicts
        ],
        "provenance": _provenance(record, anchor, digest),
        "study": _study(record, study) if study is not None else None,
        "sites": [_site(record, study, account) for account in study.sites] if study is not None else [],
        "rounds": [_round(record, study, one) for one in study.rounds] if study is not None else [],
    }


def _rule(record: Record, verdict: Verdict, checks: str, why: str) -> dict[str, Any]:
    return {
        "rule": verdict.rule,
        "outcome": verdict.outcome.value,
        "says": verdict.why,
        "checks": checks,
        "matters": why,
        "broken": [_finding(record, one) for one in verdict.broken],
        "open": [_finding(record, one) for one in verdict.open],
        "figures": dict(verdict.figures),
        "details": list(_details(verdict)),
    }


def _details(verdict: Verdict) -> Iterator[str]:
    """Put a rule's figures into words."""
    for key, figure in verdict.figures.items():
        match verdict.rule:
            case "absence":
                yield f"{figure['name']} committed {figure['committed']} of {figure['eligible']} times"
            case "exclusions":
                yield from (f"{key} left out {what} ({count} times)" for what, count in figure.items())
            case "fairness":
                drawn = f"{figure['name']} was drawn {figure['drawn']} of {figure['elections']} times"
                yield f"{drawn}, {figure['expected']} expected, p = {figure['p']:.3g}"
            case "privacy":
                yield f"{figure['name']} has spent {figure['epsilon']:g} of {figure['budget']:g}"
            case _:
                yield f"{key}: {figure}"


def _finding(record: Record, finding: Finding) -> dict[str, Any]:
    site = record.name(finding.site) if finding.site is not None else None
    return {"what": finding.what, "round": finding.round, "site": site, "block": finding.block}


def _provenance(record: Record, anchor: bytes | None, digest: str) -> dict[str, Any]:
    deployment, blocks = record.deployment, record.blocks
    last = blocks[max(blocks)] if blocks else None
    return {
        "bundle": digest,
        "chain_id": deployment.chain_id,
        "genesis": deployment.genesis.hex(),
        "consortium_contract": deployment.consortium,
        "study_contract": deployment.study,
        "first_block": min(blocks, default=0),
        "last_block": last.number if last is not None else 0,
        "last_hash": last.hash.hex() if last is not None else "",
        "block_given": anchor.hex() if anchor is not None else None,
        "events": len(record.events),
    }


def _study(record: Record, study: StudyState) -> dict[str, Any]:
    spec = record.spec
    return {
        "number": study.number,
        "name": spec.study.name if spec is not None else "",
        "status": study.status.name.lower(),
        "specification": study.spec_hash.hex(),
        "proposer": record.name(study.proposer),
        "proposed": study.proposed.timestamp,
        "ended": study.ended.timestamp if study.ended is not None else None,
        "rounds": study.terms.rounds,
        "privacy": spec.privacy.mode if spec is not None else "",
        "initial_model": spec.initial.hex() if spec is not None else "",
        "final_model": study.final_output.hex() if study.final_output is not None else None,
        "model_file": record.model.hex() if record.model is not None else None,
    }


def _site(record: Record, study: StudyState, account: str) -> dict[str, Any]:
    site = study.sites[account]
    finals = [one for one in study.rounds if one.final is not None]
    merged = [one for one in finals if one.final is not None and one.final.merged >> site.seat & 1]
    weights = [one.commits[site.seat].commitment.weight for one in merged if site.seat in one.commits]
    faults = Counter(
        term.fault.name.lower()
        for one in study.rounds
        for term in one.terms
        if term.seat == site.seat and term.fault is not None
    )
    return {
        "name": record.name(account),
        "account": account,
        "seat": site.seat,
        "accepted": site.accepted.timestamp,
        "from_round": site.from_round,
        "withdrawn": site.withdrawn,
        "merged": len(merged),
        "led": sum(term.seat == site.seat and term.fault is None for one in finals for term in one.terms[-1:]),
        "faults": dict(faults),
        "weight": weights[-1] if weights else None,
        "epsilon": site.epsilon_spent / 1e6,
    }


def _round(record: Record, study: StudyState, one: RoundState) -> dict[str, Any]:
    final = one.final
    names = {site.seat: record.name(site.account) for site in study.sites.values()}

    def named(seats: int) -> list[str]:
        return [names.get(seat, f"seat {seat}") for seat in seats_of(seats)]

    return {
        "round": one.number,
        "opened": one.opened.timestamp,
        "ended": final.at.timestamp if final is not None else None,
        "output": final.output.hex() if final is not None else None,
        "eligible": named(one.eligible),
        "committed": named(one.committed),
        "merged": named(final.merged) if final is not None else [],
        "attested": final.attested.bit_count() if final is not None else 0,
        "left_out": list(_left_out(one, names)),
        "terms": [_term(record, term) for term in one.terms],
        "attempts": one.attempt + 1,
        "extensions": one.extensions,
    }


def _left_out(one: RoundState, names: dict[int, str]) -> Iterator[dict[str, str]]:
    publication = one.terms[-1].publication if one.terms else None
    if publication is None or one.final is None:
        return
    seats = seats_of(one.committed & ~publication.merged)
    for seat, reason in zip(seats, publication.reasons, strict=False):
        known = Exclusion(reason).name.lower().replace("_", " ") if reason in set(Exclusion) else str(reason)
        yield {"site": names.get(seat, f"seat {seat}"), "reason": known}


def _term(record: Record, term: Term) -> dict[str, Any]:
    fault = term.fault.name.lower().replace("_", " ") if term.fault is not None else None
    return {"term": term.number, "leader": record.name(term.leader), "fault": fault, "began": term.at.timestamp}
