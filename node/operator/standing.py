"""Where a study stands: its phase, whom it waits for, since when and until when, by name."""

from typing import Any

from ledger.state import ConsortiumState, StudyState
from ledger.types import Address, Phase, Status, seats_of
from node.operator.desk import Desk
from swarm.loop.meeting import read_file, state_in


def standing(desk: Desk, study: StudyState) -> dict[str, Any]:
    """A study's place in its life, and this site's answer to it."""
    names = desk.consortium
    unanswered = [account for account in names.members if account not in study.sites and account not in study.declined]
    return {
        "study": study.number,
        "spec_hash": study.spec_hash.hex(),
        "proposer": names.name_of(study.proposer),
        "status": study.status.name.lower(),
        "answer": answer(study, desk.address),
        "accepted": [names.name_of(account) for account, site in study.sites.items() if not site.withdrawn],
        "declined": sorted(names.name_of(account) for account in study.declined if account not in study.sites),
        "unanswered": [names.name_of(account) for account in unanswered],
        "round": study.round.number if study.rounds else None,
        "rounds": study.terms.rounds,
        "phase": study.phase.name.lower(),
        "leader": names.name_of(study.round.leader) if study.rounds and study.round.leader else None,
        "waits_for": waits_for(study, names),
        "since": since(study),
        "until": until(study),
        "here": loop_state(desk, study),
        "final_model": study.final_output.hex() if study.final_output is not None else None,
    }


def loop_state(desk: Desk, study: StudyState) -> str | None:
    """What this site's node waits for on its own machine, a training loop; None where it waits for nothing here."""
    if study.status is not Status.RUNNING or not desk.folder.is_locked():
        return None
    state = read_file(state_in(desk.folder.study(study.number))) or {}
    return str(state["says"])[:1024] if "says" in state else None


def answer(study: StudyState, site: Address) -> str:
    """What a site said to a study."""
    if site in study.sites:
        return "withdrawn" if study.sites[site].withdrawn else "accepted"
    return "declined" if site in study.declined else "none"


def waits_for(study: StudyState, names: ConsortiumState) -> str:
    """Say in a sentence what a study waits for, by name."""
    if study.status is Status.PROPOSED:
        asked = [account for account in names.members if account not in study.sites and account not in study.declined]
        missing = ", ".join(map(names.name_of, asked))
        return f"waiting for the answer of {missing}" if missing else "waiting to be started"
    if study.status is not Status.RUNNING:
        return study.status.name.lower()
    present = study.round
    match study.phase:
        case Phase.COLLECTING:
            return f"collecting: waiting for {_names(study, names, study.eligible & ~present.committed)}"
        case Phase.MERGING:
            return f"merging: waiting for the leader, {names.name_of(present.leader or '')}"
        case _:
            term = present.term
            voted = 0 if term is None else sum(1 << seat for seat in {*term.attested, *term.rejected})
            return f"reviewing: waiting for {_names(study, names, study.voters & ~voted)}"


def since(study: StudyState) -> int:
    """Chain time at which the present waiting began, in seconds."""
    if study.ended is not None:
        return study.ended.timestamp
    if not study.rounds:
        return study.proposed.timestamp
    present = study.round
    began = [present.opened, *([present.sealed_at] if present.sealed_at else [])]
    if present.term is not None:
        began += [present.term.at, *([present.publication.at] if present.publication else [])]
    return max(began).timestamp


def until(study: StudyState) -> int | None:
    """Chain time until which the present waiting may last; None where nothing is waited for."""
    if study.status is Status.PROPOSED:
        return study.accept_deadline
    return study.round.deadline if study.status is Status.RUNNING else None


def _names(study: StudyState, names: ConsortiumState, seats: int) -> str:
    return ", ".join(names.name_of(study.participant_at(seat).account) for seat in seats_of(seats)) or "nobody"
