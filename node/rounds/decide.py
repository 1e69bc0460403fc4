"""The state machine of a round, as one pure function: a situation in, the next action out.

There is no other state: a node that is killed anywhere reads the ledger and its disk again, is in a situation, and
goes on. An action that stays the same while the situation changes is not interrupted; one that is no longer the
answer is cancelled.
"""

from dataclasses import dataclass

from ledger.types import Phase
from swarm.merge import Objection

RANK_SECONDS = 0.5
PAUSED_SECONDS = 1.0
"""How often a paused site looks whether it may go on."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What a round's update is computed from: the base model, and the agreed moments where there are any."""

    round: int
    base: bytes | None
    moments: bytes | None


@dataclass(frozen=True, slots=True)
class Train:
    """Compute this site's update (its moments, in round 0) and keep it on disk."""

    basis: Basis


@dataclass(frozen=True, slots=True)
class Commit:
    """Put this site's update on the ledger."""

    basis: Basis
    attempt: int


@dataclass(frozen=True, slots=True)
class AttestAndCommit:
    """Attest to the verified output and commit the update trained on it, in one transaction."""

    round: int
    term: int
    output: bytes
    basis: Basis


@dataclass(frozen=True, slots=True)
class Seal:
    """Push the collecting phase on: its waiting is over."""

    round: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Publish:
    """Merge the committed updates and publish the output: this site leads."""

    round: int
    attempt: int
    term: int


@dataclass(frozen=True, slots=True)
class Verify:
    """Recompute the published output."""

    round: int
    attempt: int
    term: int
    output: bytes


@dataclass(frozen=True, slots=True)
class Attest:
    """Attest to the verified output."""

    round: int
    term: int
    output: bytes


@dataclass(frozen=True, slots=True)
class Reject:
    """Reject the published output, for a reason."""

    round: int
    term: int
    output: bytes
    objection: Objection


@dataclass(frozen=True, slots=True)
class Rotate:
    """End a leader's term: its deadline has passed."""

    round: int
    term: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until the ledger changes, or until then (chain time in seconds)."""

    until: float | None
    reason: str


Action = Train | Commit | AttestAndCommit | Seal | Publish | Verify | Attest | Reject | Rotate | Wait


@dataclass(frozen=True, slots=True)
class Situation:
    """A running study as this site sees it.

    Times are chain time in seconds. `rank` is this site's place in the queue of those who may push a stalled round
    on, so that they do not all do it at once. `verdict` is this site's finding on the published output: None before
    it was verified, True where it holds, an Objection where it doesn't. A site `paused` by its operator makes no new
    update; it commits one that is made and awaited already, and sees the rounds through in which it has committed.
    """

    phase: Phase
    round: int
    attempt: int
    term: int
    last_round: int
    now: float
    deadline: float
    sealable_at: float
    rank: int
    leads: bool
    eligible: bool
    committed: bool
    voted: bool
    committed_next: bool
    output: bytes
    verdict: bool | Objection | None
    basis: Basis
    has_update: bool
    next_basis: Basis
    has_next_update: bool
    attests_with_commit: bool
    paused: bool = False


def decide(at: Situation) -> Action:
    """Say what this site does next."""
    match at.phase:
        case Phase.COLLECTING:
            return _collecting(at)
        case Phase.MERGING:
            return _merging(at)
        case Phase.REVIEWING:
            return _reviewing(at)
        case _:
            return Wait(None, "the study is not running")


def _collecting(at: Situation) -> Action:
    if at.eligible and not at.committed and at.has_update:
        return Commit(at.basis, at.attempt)
    if at.eligible and not at.committed and not at.paused:
        return Train(at.basis)
    turn = at.sealable_at + RANK_SECONDS * at.rank
    if at.now >= turn:
        return Seal(at.round, at.attempt)
    if at.paused:
        return Wait(min(turn, at.now + PAUSED_SECONDS), "paused by its operator")
    return Wait(turn, "waiting for the updates of other sites")


def _merging(at: Situation) -> Action:
    # A leader that is late still publishes while nobody minds. Then it ends its term as any other site would: it may be
    # unable to publish, and the only site that is awake.
    if at.leads and at.now < _turn(at):
        return Publish(at.round, at.attempt, at.term)
    return _await_deadline(at, "waiting for the leader to merge and publish")


def _reviewing(at: Situation) -> Action:
    if not at.committed:
        return _await_deadline(at, "waiting for the others' review")
    if at.verdict is None:
        return Verify(at.round, at.attempt, at.term, at.output)
    if not at.voted:
        return _vote(at)
    waiting = _await_deadline(at, "waiting for the quorum's review")
    follows = at.verdict is True and at.round < at.last_round and not at.has_next_update and not at.paused
    return Train(at.next_basis) if isinstance(waiting, Wait) and follows else waiting


def _vote(at: Situation) -> Action:
    if isinstance(at.verdict, Objection):
        return Reject(at.round, at.term, at.output, at.verdict)
    if at.round == at.last_round or not at.attests_with_commit or at.committed_next or at.paused:
        return Attest(at.round, at.term, at.output)
    if not at.has_next_update:
        return Train(at.next_basis)
    return AttestAndCommit(at.round, at.term, at.output, at.next_basis)


def _await_deadline(at: Situation, reason: str) -> Action:
    turn = _turn(at)
    return Rotate(at.round, at.term) if at.now >= turn else Wait(turn, reason)


def _turn(at: Situation) -> float:
    """When this site may end the term: the contract does so strictly after its deadline, in whole seconds."""
    return at.deadline + 1 + RANK_SECONDS * at.rank
