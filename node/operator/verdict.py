"""What came of a canary, or of any study: who did what, how long it took, what was slow, and what all would take.

Seconds are the chain's, which are whole, except for this site's own, which it notes itself as rounds become final.
"""

from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Any

from ledger.events import StudyEvent
from ledger.state import RoundState, StudyState
from ledger.state.study import Participant
from ledger.stream import EventStream
from ledger.types import Status
from node.errors import StudyRefused
from node.operator.canary import MAX_NAME, SUFFIX
from node.operator.desk import Desk
from node.operator.standing import waits_for
from node.specification import specification
from node.study_folder import StudyFolder
from node.usage import Usage, usage_by_sender
from swarm.merge import Exclusion
from swarm.spec import StudySpec

NOTICEABLE_SECONDS = 2
"""A site is called slow where the others waited longer than this for it alone: chain time is in whole seconds."""


def verdict(desk: Desk, number: int, whole: StudySpec | None = None) -> dict[str, Any]:
    """Judge a study by the ledger; `whole` is the study whose length is estimated, else one is looked for by name.

    `passed` is None until the study is over. It has passed where it finished, and every site that accepted it
    committed to each round and was merged, without an objection or a lost term.
    """
    study = desk.study(number)
    whole = whole or _whole(desk, study)
    spent = _spent(desk, number)
    rounds = [_round(desk, study, one) for one in study.rounds]
    sites = [_site(desk, study, site, spent) for site in sorted(study.sites.values(), key=lambda site: site.seat)]
    faults = [*_faults(sites), *(fault for one in rounds for fault in one["faults"])]
    over = study.status in (Status.FINISHED, Status.ABORTED)
    return {
        "study": number,
        "name": specification(study).study.name,
        "status": study.status.name.lower(),
        "passed": (study.status is Status.FINISHED and not faults) if over else None,
        "waits_for": None if over else waits_for(study, desk.consortium),
        "absent": [desk.consortium.name_of(one) for one in desk.consortium.members if one not in study.sites],
        "sites": sites,
        "rounds": rounds,
        "faults": faults,
        "slow": list(_slow(rounds, sites)),
        "here": StudyFolder(desk.folder.study(number)).timings(),
        "estimate": _estimate(rounds, whole),
    }


def _whole(desk: Desk, canary: StudyState) -> StudySpec | None:
    """The newest study on the ledger whose canary this is by its name."""
    for study in sorted(desk.state.studies.values(), key=lambda one: -one.number):
        try:
            spec, name = specification(study), specification(canary).study.name
        except StudyRefused:
            continue
        if spec.study.name[: MAX_NAME - len(SUFFIX)] + SUFFIX == name:
            return spec
    return None


def _spent(desk: Desk, number: int) -> dict[str, Usage]:
    events = EventStream(desk.ledger).poll()
    own = (event.at.tx for event in events if isinstance(event, StudyEvent) and event.study == number)
    return usage_by_sender(desk.ledger.rpc, own)


def _site(desk: Desk, study: StudyState, site: Participant, spent: Mapping[str, Usage]) -> dict[str, Any]:
    mine = 1 << site.seat
    took_part = [one for one in study.rounds if one.number >= site.from_round]
    commits = {one.number: one.commits.get(site.seat) for one in took_part}
    used = spent.get(site.account.lower(), Usage())
    return {
        "name": desk.consortium.name_of(site.account),
        "committed": all(commit is not None for commit in commits.values()) if commits else None,
        "merged": _all(bool(one.final.merged & mine) for one in took_part if one.final is not None),
        "attested": _all(bool(one.final.attested & mine) for one in took_part if one.final is not None),
        "rejected": any(site.seat in term.rejected for one in took_part for term in one.terms),
        "update_after": {
            one.number: max(0, commit.at.timestamp - one.opened.timestamp)
            for one in took_part
            if (commit := commits[one.number]) is not None
        },
        "transactions": used.transactions,
        "gas": used.gas,
        "bytes": used.bytes,
    }


def _all(values: Iterator[bool]) -> bool | None:
    known = list(values)
    return all(known) if known else None


def _round(desk: Desk, study: StudyState, one: RoundState) -> dict[str, Any]:
    last = one.terms[-1] if one.terms else None
    return {
        "round": one.number,
        "leader": desk.consortium.name_of(last.leader) if last is not None else None,
        "seconds": _seconds(one),
        "faults": list(_round_faults(desk, study, one)),
    }


def _seconds(one: RoundState) -> dict[str, int] | None:
    """Where a final round's seconds went; `lost` are those of terms that failed."""
    last = one.terms[-1] if one.terms else None
    if one.final is None or last is None or last.publication is None:
        return None
    everything = one.final.at.timestamp - one.opened.timestamp
    merging = last.publication.at.timestamp - last.at.timestamp
    reviewing = one.final.at.timestamp - last.publication.at.timestamp
    lost = sum(term.ended.timestamp - term.at.timestamp for term in one.terms if term.fault is not None and term.ended)
    collecting = everything - merging - reviewing - lost
    return {"all": everything, "collecting": collecting, "merging": merging, "reviewing": reviewing, "lost": lost}


def _round_faults(desk: Desk, study: StudyState, one: RoundState) -> Iterator[str]:
    where = f"round {one.number}"
    if one.extensions:
        yield f"{where}: too few sites had committed when its time was over; extended {one.extensions} times"
    for term in one.terms:
        if term.fault is not None:
            fault = term.fault.name.lower().replace("_", " ")
            yield f"{where}: {desk.consortium.name_of(term.leader)} lost its term as leader ({fault})"
        for seat in sorted(term.rejected):
            yield f"{where}: {desk.name_at(study, seat)} objected to what was published"
    for seat, reason in one.left_out.items():
        why = Exclusion(reason).name.lower().replace("_", " ") if reason in set(Exclusion) else f"reason {reason}"
        yield f"{where}: the update of {desk.name_at(study, seat)} was left out ({why})"


def _faults(sites: list[dict[str, Any]]) -> list[str]:
    return [f"{site['name']} did not commit to every round" for site in sites if site["committed"] is False]


def _slow(rounds: list[dict[str, Any]], sites: list[dict[str, Any]]) -> Iterator[str]:
    for one in rounds:
        number, seconds = one["round"], one["seconds"]
        if seconds is not None and seconds["all"]:
            name, longest = max(((name, spent) for name, spent in seconds.items() if name != "all"), key=itemgetter(1))
            yield f"round {number} took {seconds['all']} s, most of it {name} ({longest} s)"
        arrived = sorted(
            (site["update_after"][number], site["name"]) for site in sites if number in site["update_after"]
        )
        waited = arrived[-1][0] - arrived[-2][0] if len(arrived) > 1 else 0
        if waited > NOTICEABLE_SECONDS:
            yield f"round {number}: all waited {waited} s for the update of {arrived[-1][1]} alone"


def _estimate(rounds: list[dict[str, Any]], whole: StudySpec | None) -> dict[str, Any]:
    """What a training round takes, and all of the whole study's; None where it isn't known."""
    known = {one["round"]: one["seconds"]["all"] for one in rounds if one["seconds"] is not None}
    training = [seconds for number, seconds in known.items() if number > 0]
    a_round = sum(training) / len(training) if training else None
    if a_round is None or whole is None:
        return {"seconds_per_round": a_round, "study": None, "rounds": None, "seconds": None}
    # Chain time cuts off the part of a second: a round of 0 s took nearly one, perhaps.
    return {
        "seconds_per_round": a_round,
        "study": whole.study.name,
        "rounds": whole.training.rounds,
        "seconds": known.get(0, 0) + whole.training.rounds * max(a_round, 1.0),
    }
