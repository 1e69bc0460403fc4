"""From the folded ledger to answers: who and when, the consortium, its members and motions."""

from collections.abc import Iterable
from dataclasses import dataclass

from ledger.api import schemas as s
from ledger.api.snapshot import Snapshot
from ledger.rpc import data
from ledger.state import Motion, StudyState
from ledger.state.consortium import Spell
from ledger.types import Address, MotionKind, MotionState, Position, seats_of
from swarm.errors import SpecificationError
from swarm.spec import StudySpec

MICRO = 10**6


@dataclass(frozen=True)
class Teller:
    """Tells of one snapshot."""

    snapshot: Snapshot

    # -- who, when, how far ---------------------------------------------------------------------------------------

    def site(self, account: Address) -> s.Site:
        """Name an account; somebody who never was a member goes by the account alone."""
        name = self.snapshot.state.consortium.name_of(account)
        return s.Site(account=account, name=name if name != account else "")

    def sites(self, accounts: Iterable[Address]) -> list[s.Site]:
        """Name some accounts."""
        return [self.site(account) for account in accounts]

    def seated(self, study: StudyState, seats: int) -> list[s.Site]:
        """Name the participants on some seats."""
        holders = {one.seat: account for account, one in study.sites.items()}
        return [self.site(holders[seat]) for seat in seats_of(seats) if seat in holders]

    def place(self, at: Position) -> s.Place:
        """Say where and when."""
        return s.Place(
            block=at.block,
            timestamp=at.timestamp,
            transaction=data(at.tx),
            provisional=self.snapshot.is_provisional(at),
        )

    def maybe(self, at: Position | None) -> s.Place | None:
        """Say where and when, if at all."""
        return self.place(at) if at is not None else None

    def head(self) -> s.Head:
        """Say how far the ledger was read."""
        block = self.snapshot.newest
        return s.Head(
            block=block.number if block is not None else None,
            hash=data(block.hash) if block is not None else None,
            timestamp=block.timestamp if block is not None else None,
            provisional_from=self.snapshot.provisional_from,
            trouble=self.snapshot.trouble,
        )

    def status(self) -> s.Status:
        """Say which ledger this is."""
        deployment, folded = self.snapshot.deployment, self.snapshot.folded
        return s.Status(
            chain_id=deployment.chain_id,
            genesis=data(deployment.genesis),
            consortium=deployment.consortium,
            study=deployment.study,
            head=self.head(),
            events=folded.events,
            members=len(folded.state.consortium.members),
            studies=len(folded.state.studies),
            warning=self.snapshot.warning,
            problems=list(folded.problems),
        )

    # -- the consortium ------------------------------------------------------------------------------------------

    def consortium(self) -> s.Consortium:
        """Tell of the consortium."""
        now = self.snapshot.state.consortium
        return s.Consortium(
            members=self.sites(now.members),
            quorum_bps=now.quorum_bps,
            motion_seconds=now.motion_seconds,
            threshold=now.threshold,
            open_motions=len(now.open_motions),
            head=self.head(),
        )

    def membership(self, spell: Spell) -> s.Membership:
        """Tell of one membership."""
        motion = self.snapshot.state.consortium.motions.get(spell.motion) if spell.motion is not None else None
        ended = "" if spell.until is None else "left" if spell.motion is None else "removed"
        return s.Membership(
            site=s.Site(account=spell.account, name=spell.name),
            seat=spell.seat,
            since=self.place(spell.since),
            until=self.maybe(spell.until),
            ended_by=ended,
            reason=motion.text if motion is not None and motion.kind is MotionKind.REMOVE else "",
        )

    def memberships(self, block: int | None = None) -> list[s.Membership]:
        """Tell of every membership, or of those in force just after a block."""
        spells = self.snapshot.state.consortium.spells
        if block is not None:
            spells = tuple(
                one for one in spells if one.since.block <= block and (one.until is None or one.until.block > block)
            )
        return [self.membership(spell) for spell in spells]

    def motion(self, motion: Motion) -> s.Motion:
        """Tell of a vote."""
        return s.Motion(
            number=motion.number,
            kind=MotionKind(motion.kind).name.lower(),
            state=MotionState(motion.state).name.lower(),
            subject=self.site(motion.subject),
            opener=self.site(motion.opener),
            text=motion.text,
            deadline=motion.deadline,
            opened=self.place(motion.opened),
            in_favour=self.sites(voter for voter, approves in motion.votes.items() if approves),
            against=self.sites(voter for voter, approves in motion.votes.items() if not approves),
        )


def spec_of(study: StudyState) -> StudySpec | None:
    """Read a study's specification; None where this version can't."""
    try:
        return StudySpec.from_json(study.spec)
    except SpecificationError:
        return None


def name_of(study: StudyState) -> str:
    """Name a study by its specification, where it can be read."""
    spec = spec_of(study)
    return spec.study.name if spec is not None else ""
