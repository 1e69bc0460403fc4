"""What a hash, an account or a name is to the ledger."""

from collections.abc import Iterator
from typing import Final

from ledger.api import schemas as s
from ledger.api.study_telling import StudyTeller
from ledger.api.telling import Teller
from ledger.index import Queries
from ledger.rpc import data
from ledger.state import RoundState, StudyState
from ledger.types import Fault, Position

MOST_HITS: Final = 50


def known(teller: Teller, queries: Queries, digest: bytes) -> s.Known:
    """Say what a hash is: a model of which study and round, an update of whom, or a specification."""
    found: dict[tuple[object, ...], s.Mention] = {}
    for study in teller.snapshot.studies.values():
        told = StudyTeller(teller, study)
        if told.spec is not None and told.spec.model.initial == digest.hex():
            found[(study.number, "initial")] = _mention(told, None, "initial model", None, study.proposed)
    for mention in queries.mentions(digest):
        event = mention.event.event
        named = teller.snapshot.studies.get(getattr(event, "study", 0))
        if named is None:
            continue
        told = StudyTeller(teller, named)
        for key, one in _mentions(told, mention.role, getattr(event, "round", None), digest):
            found.setdefault((named.number, *key), one)
    return s.Known(hash=data(digest), found=list(found.values()), head=teller.head())


def _mentions(
    told: StudyTeller, role: str, number: int | None, digest: bytes
) -> Iterator[tuple[tuple[object, ...], s.Mention]]:
    """Say what a hash is in one round, from what the round came to."""
    study = told.study
    if role == "spec_hash" and digest == study.spec_hash:
        yield ("spec",), _mention(told, None, "specification", told.teller.site(study.proposer), study.proposed)
    if number is None:
        return
    if role == "update":
        for at, commit in told.commits():
            if at == number and commit.commitment.blob == digest:
                site = told.teller.site(commit.site)
                yield ("update", number, commit.site), _mention(told, number, "update", site, commit.at)
    index = number - study.terms.first_round
    if role == "output" and 0 <= index < len(study.rounds):
        yield from _outputs(told, study.rounds[index], digest)


def _outputs(told: StudyTeller, one: RoundState, digest: bytes) -> Iterator[tuple[tuple[object, ...], s.Mention]]:
    if one.final is not None and one.final.output == digest:
        is_last = told.study.final_output == digest and one is told.study.rounds[-1]
        what = "statistics" if one.number == 0 else "final model" if is_last else "round output"
        site = told.teller.site(one.terms[-1].leader)
        yield ("final", one.number), _mention(told, one.number, what, site, one.final.at, one)
        return
    for term in one.terms:
        if term.publication is not None and term.publication.output == digest:
            what = {Fault.REJECTED: "rejected output", None: "output under review"}.get(
                term.fault, "output without a quorum"
            )
            site = told.teller.site(term.leader)
            yield ("term", one.number, term.number), _mention(told, one.number, what, site, term.publication.at)


def _mention(
    told: StudyTeller,
    number: int | None,
    what: str,
    site: s.Site | None,
    at: Position,
    one: RoundState | None = None,
) -> s.Mention:
    return s.Mention(
        study=told.study.number,
        study_name=told.name,
        round=number,
        what=what,
        site=site,
        contributors=told.contributors(one) if one is not None else [],
        attested=one.final.attested.bit_count() if one is not None and one.final is not None else 0,
        at=told.teller.place(at),
    )


def search(teller: Teller, queries: Queries, text: str) -> s.Found:
    """Find sites, studies and hashes by an account, a hash, a number, or a part of a name."""
    query = text.strip()
    hits = [*_hashes(teller, queries, query), *_sites(teller, query), *_studies(teller, query)]
    return s.Found(query=query, hits=hits[:MOST_HITS], head=teller.head())


def parse_hash(text: str) -> bytes | None:
    """Read 64 hex digits, with or without 0x; None where it is something else."""
    digits = text.lower().removeprefix("0x")
    try:
        return bytes.fromhex(digits) if len(digits) == 64 else None
    except ValueError:
        return None


def _hashes(teller: Teller, queries: Queries, query: str) -> Iterator[s.Hit]:
    digest = parse_hash(query)
    if digest is None:
        return
    for one in known(teller, queries, digest).found:
        of = f"study {one.study} ({one.study_name})" + (f", round {one.round}" if one.round is not None else "")
        where = {"path": f"/api/v1/hashes/{data(digest)}", "page": f"/hashes/{data(digest)}"}
        yield s.Hit(kind=one.what, label=f"{one.what} of {of}", **where)


def _sites(teller: Teller, query: str) -> Iterator[s.Hit]:
    consortium = teller.snapshot.state.consortium
    wanted = query.casefold()
    for account, member in {**consortium.members, **consortium.former}.items():
        is_account = len(wanted) > 3 and account.casefold().startswith(wanted)
        if is_account or (wanted and not wanted.startswith("0x") and wanted in member.name.casefold()):
            where = {"path": f"/api/v1/members/{account}", "page": f"/sites/{account}"}
            yield s.Hit(kind="site", label=member.name, **where)


def _studies(teller: Teller, query: str) -> Iterator[s.Hit]:
    for study in teller.snapshot.studies.values():
        name = StudyTeller(teller, study).name
        if query == str(study.number) or (query and query.casefold() in name.casefold()):
            yield _hit_of(study, name)


def _hit_of(study: StudyState, name: str) -> s.Hit:
    where = {"path": f"/api/v1/studies/{study.number}", "page": f"/studies/{study.number}"}
    return s.Hit(kind="study", label=f"study {study.number}: {name}", **where)
