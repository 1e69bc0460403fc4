"""What sites signed: their commitments, the history that they signed under, and each deed's own transaction."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, Final

from ledger import events as e
from ledger.audit.record import Record, SignedCall, where
from ledger.audit.verdict import Rule, Tally
from ledger.events import Event
from ledger.types import ZERO_HASH, Address, Commitment

_SEEN_BLOCKS: Final = 256
_COMMITS: Final = ("commit", "attestAndCommit")
_ATTESTS: Final = ("attest", "attestAndCommit")


def judge_commitments(record: Record) -> Tally:
    """Hold every commitment against the study's terms."""
    tally = Tally()
    for event in _commits(record):
        study = record.subject
        if study is None:
            break
        given = event.commitment
        tally.check(given.blob != ZERO_HASH, "its blob is no hash", **where(event))
        cap = study.terms.weight_cap
        tally.check(
            1 <= given.weight <= cap, f"its weight is {given.weight}: the study allows 1..{cap}", **where(event)
        )
    tally.said = f"{tally.checked // 2} commitments, each within the study's weight cap"
    return tally


def judge_history(record: Record) -> Tally:
    """Hold the block that every commit's signer saw against the chain."""
    tally = Tally()
    for event in _commits(record):
        given = event.commitment
        recent = event.at.block - _SEEN_BLOCKS <= given.seen_block < event.at.block
        tally.check(
            recent, f"it names block {given.seen_block}, which isn't one of the {_SEEN_BLOCKS} before", **where(event)
        )
        seen = record.blocks.get(given.seen_block)
        if seen is None:
            tally.leave_open(f"block {given.seen_block}, which a signer saw, isn't at hand", **where(event))
            continue
        what = f"its signer saw another block {given.seen_block} than this history's: the history was rewritten"
        tally.check(seen.hash == given.seen_hash, what, **where(event))
    tally.said = f"{tally.checked // 2} commits name a block hash of this very history"
    return tally


def judge_signatures(record: Record) -> Tally:
    """Hold every event that a site is named in against the transaction that this site signed."""
    tally = Tally()
    if record.calls is None:
        tally.leave_open("the record holds no signed transactions")
        return tally
    told: dict[bytes, list[Event]] = defaultdict(list)
    for event in record.events:
        if getattr(event, "study", record.study) == record.study:
            told[event.at.tx].append(event)
    founding = {event.at.tx for event in record.events if isinstance(event, e.ConsortiumFounded)}
    for tx, events in told.items():
        call = record.calls.get(tx)
        if tx in founding:
            continue
        if call is None:
            _without_call(tally, record, tx, events)
            continue
        for event in events:
            for holds, what in _matches(event, call):
                tally.check(holds, f"{type(event).__name__}: {what}", **where(event))
        if call.function in _COMMITS:
            commits = sum(isinstance(event, e.UpdateCommitted) for event in events)
            tally.check(commits == 1, f"a signed {call.function} has {commits} commits on record", **where(events[0]))
    for tx, call in record.calls.items():
        silent = call.arguments.get("study") == record.study and tx not in told
        tally.check(not silent, f"a signed {call.function} left no event: it is not on record", site=call.sender)
    tally.said = f"{len(told)} transactions: each says what is on record, signed by the site that is named"
    return tally


def _without_call(tally: Tally, record: Record, tx: bytes, events: list[Event]) -> None:
    """Judge a transaction that can't be read: only what names its signer must have been signed to our contracts."""
    named = [event for event in events if _signer(event) is not None]
    reason = record.unreadable.get(tx, "no transaction to the contracts has this hash")
    for event in named:
        tally.check(False, f"{type(event).__name__}: nobody signed it: {reason}", **where(event))


def _signer(event: Event) -> Address | None:
    """Who must have signed an event; None for those that are a consequence, or for anybody to bring about."""
    match event:
        case e.StudyProposed(proposer=site) | e.ModelPublished(leader=site) | e.VoteCast(voter=site):
            return site
        case e.MotionOpened(opener=site) | e.SiteLeft(site=site) | e.AddressesPublished(site=site):
            return site
        case e.StudyAccepted(site=site) | e.StudyDeclined(site=site) | e.SiteWithdrew(site=site):
            return site
        case e.AbortVoted(site=site) | e.UpdateCommitted(site=site):
            return site
        case e.OutputAttested(site=site) | e.OutputRejected(site=site):
            return site
        case _:
            return None


def _matches(event: Event, call: SignedCall) -> Iterator[tuple[bool, str]]:
    """Hold an event against the call that brought it about."""
    signer = _signer(event)
    if signer is None:
        return
    yield call.sender == signer, f"{signer} is named, and {call.sender} signed"
    function, expected = _expected(event)
    yield call.function in function, f"what was signed is a call of {call.function}"
    rides = call.function == "attestAndCommit" and isinstance(event, e.UpdateCommitted)
    for name, value in expected.items():
        given = _of_next(name, call) if rides else call.arguments.get(name)
        if isinstance(value, Commitment) and isinstance(given, Commitment):
            yield from _same_fields(value, given)
        else:
            yield given == value, f"{name} on record is {_short(value)}, and {_short(given)} was signed"


def _same_fields(recorded: Commitment, signed: Commitment) -> Iterator[tuple[bool, str]]:
    for one in fields(Commitment):
        value, given = getattr(recorded, one.name), getattr(signed, one.name)
        yield value == given, f"{one.name} on record is {_short(value)}, and {_short(given)} was signed"


def _of_next(name: str, call: SignedCall) -> Any:
    """What a commit that rides with an attestation says."""
    if name == "round":
        return call.arguments["round"] + 1
    return {"commitment": call.arguments["next"], "attempt": 0}.get(name, call.arguments.get(name))


def _expected(event: Event) -> tuple[tuple[str, ...], Mapping[str, Any]]:
    """Give the functions that may bring an event about, and the arguments that they must have had."""
    match event:
        case e.StudyProposed():
            return ("propose",), _take(event, "spec", "terms")
        case e.StudyAccepted():
            return ("accept",), _take(event, "study", "spec_hash", "tip")
        case e.StudyDeclined():
            return ("decline",), _take(event, "study", "spec_hash")
        case e.SiteWithdrew():
            return ("withdraw",), _take(event, "study")
        case e.AbortVoted():
            return ("voteAbort",), _take(event, "study")
        case e.UpdateCommitted():
            return _COMMITS, _take(event, "study", "round", "attempt", "commitment")
        case e.ModelPublished():
            return ("publish",), _take(event, "study", "round", "term", "output", "merged", "reasons")
        case e.OutputAttested():
            return _ATTESTS, _take(event, "study", "round", "term", "output")
        case e.OutputRejected():
            return ("reject",), _take(event, "study", "round", "term", "output", "reason")
        case e.VoteCast(approve=True):
            return ("vote", "proposeRemoval"), {}
        case e.VoteCast():
            return ("vote",), _take(event, "motion", "approve")
        case e.MotionOpened():
            return ("requestMembership", "proposeRemoval"), {}
        case e.SiteLeft():
            return ("leave",), {}
        case _:
            return ("publishAddresses",), _take(event, "multiaddrs")


def _take(event: Event, *names: str) -> dict[str, Any]:
    return {name: getattr(event, name) for name in names}


def _short(value: Any) -> str:
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def judge_privacy(record: Record) -> Tally | None:
    """Add up what every site says it has spent."""
    study, spec = record.subject, record.spec
    if study is None:
        return None
    tally = Tally()
    spent: dict[Address, int] = {}
    budget = study.terms.epsilon_budget
    for event in _commits(record):
        given: Commitment = event.commitment
        before = spent.get(event.site, 0)
        what = f"it says that it has spent {given.epsilon_spent} millionths in all, after {before}"
        tally.check(given.epsilon_spent >= before, what, **where(event))
        over = f"it has spent {given.epsilon_spent} millionths of a budget of {budget}"
        tally.check(given.epsilon_spent <= budget, over, **where(event))
        spent[event.site] = given.epsilon_spent
    for site, micro in spent.items():
        tally.figures[site] = {"name": record.name(site), "epsilon": micro / 1e6, "budget": budget / 1e6}
    if spec is not None and spec.privacy.mode == "bound":
        tally.said = "the study bounds updates and uses no differential privacy: nothing is spent, nothing on record"
    else:
        tally.leave_open("what was spent is as the sites committed it: this version can't compute it again")
    return tally


def _commits(record: Record) -> Iterator[e.UpdateCommitted]:
    for step in record.own_steps:
        if isinstance(step.event, e.UpdateCommitted):
            yield step.event


COMMITMENTS = Rule(
    "commitments",
    "Every commitment names an update, and a sample weight within the study's cap.",
    "A weight is a site's say in the model.",
    judge_commitments,
    "nobody has committed",
)
HISTORY = Rule(
    "history",
    "Every commit names a recent block, and that block's hash is the one in this history.",
    "Each commit is a member's signature under the history before it: who rewrites the chain can't make those again.",
    judge_history,
    "nobody has committed",
)
SIGNATURES = Rule(
    "signatures",
    "Every deed on record was signed by the site that is named, in a transaction that says the very same.",
    "A contract that records what nobody signed isn't ours, and a signature can't be made by whoever runs the chain.",
    judge_signatures,
)
PRIVACY = Rule(
    "privacy",
    "What each site says it has spent never falls, and stays within the study's budget.",
    "The budget is what patients were promised.",
    judge_privacy,
)
