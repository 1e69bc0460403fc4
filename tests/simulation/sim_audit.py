"""The judge of a simulated history: every invariant, held against every event as it is mined.

It reads events alone, not the twin's state, and recomputes each final output from the very blobs that sites made.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from ledger import events as e
from ledger.abi import keccak256
from ledger.state import elect, quorum
from ledger.types import Address, Commitment, Fault, Terms, seats_of
from swarm.memory_store import MemoryStore
from swarm.merge import Exclusion, MergeRule, merge_updates
from swarm.moments import merge_moments
from swarm.spec import StudySpec

DENIABLE = (Exclusion.UNREACHABLE, Exclusion.MALFORMED)
"""The reasons for leaving a fit input out that nobody can disprove who doesn't hold it."""


class SafetyViolation(AssertionError):
    """The ledger records what must never happen."""


def require(holds: bool, what: str) -> None:
    """Raise SafetyViolation unless it holds."""
    if not holds:
        raise SafetyViolation(what)


@dataclass
class Audit:
    """What the events so far say; raises SafetyViolation at the first one that breaks an invariant."""

    spec: StudySpec
    terms: Terms
    rule: MergeRule
    honest: frozenset[int]
    archive: MemoryStore
    links: dict[Address, bytes] = field(default_factory=dict)
    commits: dict[tuple[int, int, int], Commitment] = field(default_factory=dict)
    revealed: set[bytes] = field(default_factory=set)
    sealed: int = 0
    seed: bytes = b""
    attempt: int = 0
    leader: int = -1
    failed: int = 0
    gone: int = 0
    published: e.ModelPublished | None = None
    attested: int = 0
    finals: dict[int, bytes] = field(default_factory=dict)
    merged: dict[int, int] = field(default_factory=dict)
    ended: bool = False
    seen: Counter[str] = field(default_factory=Counter)
    faults: Counter[Fault] = field(default_factory=Counter)

    def take(self, event: e.Event) -> None:
        """Judge one event."""
        over = self.ended and isinstance(event, e.StudyEvent)
        require(not over, f"{type(event).__name__} after the end of the study")
        if isinstance(event, e.RoundEvent) and not isinstance(event, e.UpdateCommitted | e.CommitsVoided):
            require(event.round not in self.finals, f"{type(event).__name__} in round {event.round}, which is final")
        self.seen[type(event).__name__] += 1
        judge: Callable[[e.Event], None] | None = getattr(self, f"_{type(event).__name__}", None)
        if judge is not None:
            judge(event)

    def base_of(self, number: int) -> bytes | None:
        """The model that a round starts from."""
        if number == 0:
            return None
        return self.spec.initial if number == 1 else self.finals.get(number - 1)

    def _StudyAccepted(self, event: e.StudyAccepted) -> None:  # noqa: N802
        require(event.site not in self.links, f"{event.site} accepted twice")
        self.links[event.site] = event.tip

    def _SiteWithdrew(self, event: e.SiteWithdrew) -> None:  # noqa: N802
        self.gone |= 1 << event.seat

    def _SiteLeft(self, event: e.SiteLeft) -> None:  # noqa: N802
        self.gone |= 1 << event.seat

    def _RoundOpened(self, event: e.RoundOpened) -> None:  # noqa: N802
        first = self.terms.first_round
        require(event.round == first + len(self.finals), f"round {event.round} opened after {len(self.finals)} finals")
        self.attempt = self.failed = self.sealed = 0
        self.published = None
        self._check_deadline(event, self.terms.collect_seconds)

    def _UpdateCommitted(self, event: e.UpdateCommitted) -> None:  # noqa: N802
        key = event.round, event.attempt, event.seat
        require(event.round not in self.finals, f"{event.site} committed in round {event.round}, which is final")
        require(key not in self.commits, f"{event.site} committed twice in round, attempt, seat {key}")
        reveal = event.commitment.reveal
        require(reveal not in self.revealed, f"{event.site} revealed a link twice")
        require(keccak256(reveal) == self.links[event.site], f"{event.site} revealed something else than its next link")
        self.revealed.add(reveal)
        self.links[event.site] = reveal
        self.commits[key] = event.commitment

    def _CommitsVoided(self, event: e.CommitsVoided) -> None:  # noqa: N802
        for seat in seats_of(event.voided):
            require((event.round, 0, seat) in self.commits, "a commit was voided that never was")
            del self.commits[event.round, 0, seat]

    def _RoundSealed(self, event: e.RoundSealed) -> None:  # noqa: N802
        committed = self._committed(event.round, event.attempt)
        require(event.attempt == self.attempt, "another attempt was sealed than the present one")
        require(event.committed & ~committed == 0, "a seat was sealed that never committed")
        require(event.committed == committed & ~self.gone, "a commit was sealed out, or one of a site that is gone in")
        require(event.committed.bit_count() >= self.terms.min_sites, "a round was sealed with too few commits")
        self.sealed, self.seed, self.failed = event.committed, event.seed, 0

    def _LeaderElected(self, event: e.LeaderElected) -> None:  # noqa: N802
        candidates = self.sealed & ~self.failed & ~self.gone
        require(event.seat == elect(self.seed, event.term, candidates), "the leader isn't the one that the seed elects")
        self.leader, self.published = event.seat, None
        self._check_deadline(event, self.terms.merge_seconds)

    def _LeaderFailed(self, event: e.LeaderFailed) -> None:  # noqa: N802
        require(not self.failed >> self.leader & 1, "a leader failed twice in an attempt")
        self.failed |= 1 << self.leader
        self.faults[event.fault] += 1

    def _RoundRetried(self, event: e.RoundRetried) -> None:  # noqa: N802
        require(event.attempt == self.attempt + 1, "attempts skip a number")
        self.attempt, self.sealed, self.failed, self.published = event.attempt, 0, 0, None
        self._check_deadline(event, self.terms.collect_seconds)

    def _ModelPublished(self, event: e.ModelPublished) -> None:  # noqa: N802
        require(self.published is None, "a term has two publications")
        require(event.merged & ~self.sealed == 0, "merged is no subset of committed")
        left_out = (self.sealed & ~event.merged).bit_count()
        require(len(event.reasons) == left_out, f"{left_out} commits left out, for {len(event.reasons)} reasons")
        self.published, self.attested = event, 1 << self.leader
        self._check_deadline(event, self.terms.review_seconds)

    def _OutputAttested(self, event: e.OutputAttested) -> None:  # noqa: N802
        require(self.published is not None and event.output == self.published.output, "another output was attested")
        require(not self.attested >> event.seat & 1, f"{event.site} attested twice")
        self.attested |= 1 << event.seat

    def _RoundFinalised(self, event: e.RoundFinalised) -> None:  # noqa: N802
        published = self.published
        require(published is not None, f"round {event.round} is final and nothing was published")
        assert published is not None
        what = (event.output, event.merged) == (published.output, published.merged)
        require(what and event.round == published.round, "what is final isn't what was published")
        voters = self.sealed & ~self.gone
        needed = quorum(voters.bit_count(), self.terms.quorum_bps)
        require((self.attested & voters).bit_count() >= needed, f"round {event.round} is final without a quorum")
        require(event.attested == self.attested & voters, f"round {event.round}: the attestations on record are others")
        require(event.merged.bit_count() >= self.terms.min_sites, "too few inputs are in a final output")
        self._check_reasons(published)
        require(self._recomputed(event) == event.output, f"the output of round {event.round} is no merge of its inputs")
        self.finals[event.round], self.merged[event.round] = event.output, event.merged

    def _StudyFinished(self, event: e.StudyFinished) -> None:  # noqa: N802
        require(event.output == self.finals.get(self.terms.rounds), "the study ended with another output")
        self.ended = True

    def _StudyAborted(self, _event: e.StudyAborted) -> None:  # noqa: N802
        self.ended = True

    def _RoundExtended(self, event: e.RoundExtended) -> None:  # noqa: N802
        self._check_deadline(event, self.terms.collect_seconds)

    def _check_deadline(
        self, event: e.RoundOpened | e.RoundExtended | e.RoundRetried | e.LeaderElected | e.ModelPublished, most: int
    ) -> None:
        length = event.deadline - event.at.timestamp
        least = min(self.terms.least_seconds, most)
        require(least <= length <= most, f"{type(event).__name__}: a phase may last {length} s, not {least} to {most}")

    def _committed(self, number: int, attempt: int) -> int:
        return sum(1 << seat for one, other, seat in self.commits if (one, other) == (number, attempt))

    def _check_reasons(self, published: e.ModelPublished) -> None:
        for seat, reason in zip(seats_of(self.sealed & ~published.merged), published.reasons, strict=True):
            require(reason in set(Exclusion), f"seat {seat} was left out for no reason that there is ({reason})")
            false = seat in self.honest and reason not in DENIABLE
            require(not false, f"seat {seat} is honest and was left out for a fault ({Exclusion(reason).name})")

    def _recomputed(self, event: e.RoundFinalised) -> bytes:
        commits = [self.commits[event.round, self.attempt, seat] for seat in seats_of(event.merged)]
        unknown = [commit.blob.hex() for commit in commits if not self.archive.has(commit.blob)]
        require(not unknown, f"blobs were merged that no site made: {unknown}")
        base = self.base_of(event.round)
        if base is None:
            return merge_moments(self.archive, [commit.blob for commit in commits]).blob
        return merge_updates(self.archive, base, [(one.blob, one.weight) for one in commits], self.rule).blob
