"""What the ledger and this site know, as plain values for the HTTP interface. Names of sites are labels."""

from collections.abc import Callable
from typing import Any

from ledger.state import Commit, ConsortiumState, RoundState, StudyState, Term
from ledger.types import Address, seats_of
from node.api.live import Observation
from node.api.paging import last
from node.network.port import PeerView
from swarm.blobs import BlobStore
from swarm.merge import Exclusion, Objection

MOST_TERMS = 64
MOST_COMMITS = 512


def peers(seen: Observation, me: Address) -> list[dict[str, Any]]:
    """Every other member: how it is connected or why not, what it runs, where it can be dialled, what was exchanged."""
    return [
        {
            "address": account,
            "name": member.name,
            **_connection(seen.peers.get(account), seen.consortium),
            "published": list(member.addresses),
            "sent_bytes": seen.traffic[account].sent if account in seen.traffic else 0,
            "received_bytes": seen.traffic[account].received if account in seen.traffic else 0,
            "member_since": member.since.timestamp,
        }
        for account, member in seen.consortium.members.items()
        if account != me
    ]


def _connection(peer: PeerView | None, names: ConsortiumState) -> dict[str, Any]:
    """How one is connected to a member or, in a sentence, why not; and what it said of itself, refused or not."""
    if peer is None:
        return {"connected": False, "relayed_by": None, "software": None, "protocol": None, "fault": None}
    return {
        "connected": peer.connected,
        "relayed_by": None if peer.relay is None else names.name_of(peer.relay),
        "software": None if peer.hello is None else peer.hello.software,
        "protocol": None if peer.hello is None else peer.hello.protocol,
        "fault": peer.fault,
    }


def round_view(study: StudyState, one: RoundState, names: ConsortiumState) -> dict[str, Any]:
    """One round: its commits, its leaders' terms with what went wrong in them, and what became final."""

    def name(seat: int) -> str:
        return names.name_of(study.participant_at(seat).account)

    return {
        "study": study.number,
        "round": one.number,
        "attempt": one.attempt,
        "phase": "final" if one.final is not None else one.phase.name.lower(),
        "opened": one.opened.timestamp,
        "deadline": one.deadline,
        "extensions": one.extensions,
        "eligible": [name(seat) for seat in seats_of(one.eligible)],
        "commits": [_commit(commit, names) for commit in last(one.all_commits(), MOST_COMMITS)],
        "terms": [_term(term, name) for term in last(one.terms, MOST_TERMS)],
        "left_out": _left_out(one, name),
        "final": None
        if one.final is None
        else {
            "output": one.final.output.hex(),
            "merged": [name(seat) for seat in seats_of(one.final.merged)],
            "attested": [name(seat) for seat in seats_of(one.final.attested)],
            "at": one.final.at.timestamp,
        },
    }


def models(seen: Observation) -> dict[bytes, list[tuple[StudyState, RoundState]]]:
    """The final outputs on the ledger, each with the rounds that it came of: statistics (round 0) are no model."""
    found: dict[bytes, list[tuple[StudyState, RoundState]]] = {}
    for study in seen.studies.values():
        for one in study.rounds:
            if one.final is not None and one.number > 0:
                found.setdefault(one.final.output, []).append((study, one))
    return found


def model_view(blob: bytes, came_of: list[tuple[StudyState, RoundState]], store: BlobStore) -> dict[str, Any]:
    """One model: which studies' rounds it is the outcome of, and whether this site has it."""
    return {
        "model": blob.hex(),
        "on_disk": store.has(blob),
        "outcome_of": [
            {"study": study.number, "round": one.number, "last": study.final_output == blob}
            for study, one in last(came_of, MOST_TERMS)
        ],
    }


def chain_view(seen: Observation, chain_id: int, age: float) -> dict[str, Any]:
    """The chain as this site sees it."""
    return {
        "id": chain_id,
        "block": seen.cursor.block if seen.cursor is not None else 0,
        "reachable": seen.reachable,
        "head_age_seconds": round(age, 1),
    }


def _commit(commit: Commit, names: ConsortiumState) -> dict[str, Any]:
    return {
        "site": names.name_of(commit.site),
        "address": commit.site,
        "attempt": commit.attempt,
        "blob": commit.commitment.blob.hex(),
        "weight": commit.commitment.weight,
        "epsilon_spent_micro": commit.commitment.epsilon_spent,
        "at": commit.at.timestamp,
        "transaction": commit.at.tx.hex(),
    }


def _term(term: Term, name: Callable[[int], str]) -> dict[str, Any]:
    return {
        "term": term.number,
        "attempt": term.attempt,
        "leader": name(term.seat),
        "deadline": term.deadline,
        "published": term.publication.output.hex() if term.publication is not None else None,
        "attested": [name(seat) for seat in sorted(term.attested)],
        "rejected": {name(seat): _reason(reason, Objection) for seat, reason in sorted(term.rejected.items())},
        "fault": term.fault.name.lower() if term.fault is not None else None,
    }


def _left_out(one: RoundState, name: Callable[[int], str]) -> dict[str, str]:
    return {name(seat): _reason(reason, Exclusion) for seat, reason in one.left_out.items()}


def _reason(number: int, kind: type[Objection] | type[Exclusion]) -> str:
    return kind(number).name.lower() if number in set(kind) else str(number)
