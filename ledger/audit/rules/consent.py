"""Who took part by what right: membership by vote, seats, consent to this very specification, review and quorum."""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ledger import events as e
from ledger.audit.record import Record, Step, where
from ledger.audit.verdict import Rule, Tally
from ledger.events import ConsortiumEvent, RoundEvent, StudyEvent
from ledger.state import ConsortiumState, Motion
from ledger.types import MotionKind, MotionState, Terms, bitmap_of

_ACTORS = (
    e.StudyAccepted,
    e.StudyDeclined,
    e.SiteWithdrew,
    e.AbortVoted,
    e.UpdateCommitted,
    e.OutputAttested,
    e.OutputRejected,
)


def judge_membership(record: Record) -> Tally:
    """Follow who is a member, and hold every deed against it."""
    tally = Tally()
    founding: Any = None
    for step in record.steps:
        event, consortium = step.event, step.before.consortium
        if isinstance(event, e.ConsortiumFounded):
            tally.check(founding is None, "the consortium was founded twice", **where(event))
            founding = event.at.block, event.at.tx
        elif isinstance(event, ConsortiumEvent):
            founds = isinstance(event, e.SiteAdmitted) and (event.at.block, event.at.tx) == founding
            for holds, what in () if founds else _of_consortium(event, consortium):
                tally.check(holds, f"{type(event).__name__}: {what}", **where(event))
        elif isinstance(event, StudyEvent) and event.study == record.study:
            for holds, what in _of_study(event, consortium):
                tally.check(holds, f"{type(event).__name__}: {what}", **where(event))
    members = len(record.consortium.members)
    tally.said = f"{tally.checked} deeds, each by who was a member then, on its own seat; {members} are members now"
    return tally


def _of_consortium(event: ConsortiumEvent, consortium: ConsortiumState) -> Iterator[tuple[bool, str]]:
    match event:
        case e.SiteAdmitted(site=site, seat=seat):
            yield site not in consortium.members, "the site is a member already"
            yield _carried(consortium, MotionKind.ADMIT, site), "no vote of the members admitted it"
            former = consortium.former.get(site)
            taken = {one.seat for one in (*consortium.members.values(), *consortium.former.values())}
            free = seat == former.seat if former is not None else seat not in taken
            yield free, f"seat {seat} is another's"
        case e.SiteRemoved(site=site):
            yield _carried(consortium, MotionKind.REMOVE, site), "no vote of the members removed it"
        case e.SiteLeft(site=site, seat=seat):
            yield _sits(consortium, site, seat), "it is no member, or on another seat"
        case e.MotionOpened(kind=kind, subject=subject, opener=opener):
            right = subject == opener if kind is MotionKind.ADMIT else opener in consortium.members
            yield right, "who opened it had no right to"
            yield (subject in consortium.members) == (kind is MotionKind.REMOVE), "it is about nothing that could be"
        case e.VoteCast(motion=number, voter=voter):
            motion = consortium.motions.get(number)
            yield motion is not None and motion.state is MotionState.OPEN, "the motion isn't open"
            yield voter in consortium.members, "the voter is no member"
            yield motion is not None and voter not in motion.votes, "the voter voted before"
            yield motion is not None and event.at.timestamp <= motion.deadline, "the motion's deadline has passed"
        case _:
            return


def _carried(consortium: ConsortiumState, kind: MotionKind, subject: str) -> bool:
    """Say whether an open motion about somebody has the members' votes."""
    about = (one for one in consortium.open_motions.values() if (one.kind, one.subject) == (kind, subject))
    return any(_approvals(consortium, motion) >= consortium.threshold for motion in about)


def _approvals(consortium: ConsortiumState, motion: Motion) -> int:
    return sum(approve and voter in consortium.members for voter, approve in motion.votes.items())


def _of_study(event: StudyEvent, consortium: ConsortiumState) -> Iterator[tuple[bool, str]]:
    match event:
        case e.StudyProposed(proposer=proposer):
            yield proposer in consortium.members, f"{proposer} is no member"
        case e.ModelPublished(leader=leader):
            yield leader in consortium.members, f"{leader} is no member"
        case _ if isinstance(event, _ACTORS):
            yield event.site in consortium.members, f"{event.site} is no member"
            yield _sits(consortium, event.site, event.seat), f"{event.site} isn't on seat {event.seat}"


def _sits(consortium: ConsortiumState, site: str, seat: int) -> bool:
    return site in consortium.members and consortium.members[site].seat == seat


def judge_consent(record: Record) -> Tally:
    """Hold every commit and every vote against the consent that was in force."""
    tally = Tally()
    for step in record.own_steps:
        event, study = step.event, record.study_before(step)
        if study is None or not isinstance(event, _ACTORS):
            continue
        if isinstance(event, e.StudyAccepted | e.StudyDeclined):
            same = event.spec_hash == study.spec_hash
            tally.check(same, "it answers another specification than the study's", **where(event))
            continue
        site = study.sites.get(event.site)
        if not tally.check(site is not None, "it never accepted the study", **where(event)) or site is None:
            continue
        tally.check(not site.withdrawn, "it had withdrawn from the study", **where(event))
        tally.check(site.seat == event.seat, f"it accepted on seat {site.seat}, not {event.seat}", **where(event))
        if isinstance(event, RoundEvent):
            begun = site.from_round <= event.round
            tally.check(begun, f"its consent is in force from round {site.from_round} on", **where(event))
    tally.said = f"{tally.checked} checks: nobody took part without having accepted this very specification"
    return tally


def judge_specification(record: Record) -> Tally:
    """Hold the specification against its hash, and the contract's terms against the specification."""
    tally, study = Tally(), record.subject
    if study is None:
        tally.check(False, f"nobody proposed study {record.study}")
        return tally
    digest = hashlib.sha256(study.spec).digest()
    tally.check(digest == study.spec_hash, "the specification doesn't have the hash that was accepted")
    spec = record.spec
    if spec is None:
        tally.leave_open("this version can't read the specification, so that its terms can't be compared")
        return tally
    tally.check(
        Terms(**asdict(spec.terms())) == study.terms, "the contract enforces other terms than the specification's"
    )
    tally.said = f"specification {digest.hex()[:16]}: its terms are the contract's, its hash is what each site accepted"
    return tally


def judge_quorum(record: Record) -> Tally:
    """Count every review again."""
    tally = Tally()
    for step in record.own_steps:
        event = step.event
        if isinstance(event, e.OutputAttested | e.OutputRejected):
            _vote(tally, record, step, event)
        elif isinstance(event, e.RoundFinalised):
            _finality(tally, record, step, event)
    tally.said = f"{tally.checked} checks of votes and quorums hold"
    return tally


def _vote(tally: Tally, record: Record, step: Step, event: e.OutputAttested | e.OutputRejected) -> None:
    study = record.study_before(step)
    if study is None or not study.rounds or study.round.term is None:
        tally.check(False, "it votes where nothing is under review", **where(event))
        return
    term = study.round.term
    tally.check(
        bool(study.voters >> event.seat & 1), "it didn't commit in this round, or takes part no more", **where(event)
    )
    tally.check(event.seat not in term.attested and event.seat not in term.rejected, "it voted before", **where(event))
    published = term.publication.output if term.publication is not None else None
    tally.check(event.output == published, "it votes on another output than the published one", **where(event))


def _finality(tally: Tally, record: Record, step: Step, event: e.RoundFinalised) -> None:
    study = record.study_before(step)
    term = study.round.term if study is not None and study.rounds else None
    if study is None or term is None or term.publication is None:
        tally.check(False, "it is final, and nothing was published", **where(event))
        return
    voters = study.voters
    attested = bitmap_of(*term.attested) & voters
    enough = voters.bit_count() >= study.terms.min_sites and attested.bit_count() >= study.quorum
    needed = f"{attested.bit_count()} of {voters.bit_count()} attested, {study.quorum} are needed"
    tally.check(enough, f"it is final without a quorum: {needed}", **where(event))
    tally.check(event.attested == attested, "the attestations that it counts aren't those on record", **where(event))
    same = (event.output, event.merged) == (term.publication.output, term.publication.merged)
    tally.check(same, "what is final isn't what was published", **where(event))


MEMBERSHIP = Rule(
    "membership",
    "Every admission and removal was voted by the members, and everybody who acted was a member then, on that seat.",
    "The member list is the access list: who was let in by nobody has had access to everything.",
    judge_membership,
    "the record has no events",
)
CONSENT = Rule(
    "consent",
    "Who committed or voted had accepted the study, by the hash of its specification, and not withdrawn.",
    "A site's data may be used for what that site agreed to, and for nothing else.",
    judge_consent,
    "nobody has answered the study",
)
SPECIFICATION = Rule(
    "specification",
    "The specification has the hash that the sites accepted, and the contract's terms are those that it states.",
    "What was accepted must be what ran.",
    judge_specification,
)
QUORUM = Rule(
    "quorum",
    "Every vote is by a committer of that round, once, on the published output; every final output has its quorum.",
    "A quorum is what stands between a lying leader and the model.",
    judge_quorum,
    "nothing was reviewed",
)
