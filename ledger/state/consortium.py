"""Who is a member, and what the members are voting on."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ledger.errors import EventInvalid
from ledger.events import (
    AddressesPublished,
    ConsortiumEvent,
    ConsortiumFounded,
    MotionClosed,
    MotionOpened,
    SiteAdmitted,
    SiteLeft,
    SiteRemoved,
    VoteCast,
)
from ledger.state.election import quorum
from ledger.types import Address, MotionKind, MotionState, Position, bitmap_of


@dataclass(frozen=True, slots=True)
class Member:
    """A site of the consortium, since when; `addresses` are its multiaddrs, as published last."""

    account: Address
    seat: int
    name: str
    since: Position
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Spell:
    """One time during which a site was a member; `until` is None while it is one, `motion` the vote that removed it."""

    account: Address
    seat: int
    name: str
    since: Position
    until: Position | None = None
    motion: int | None = None


@dataclass(frozen=True, slots=True)
class Motion:
    """A vote: on admitting or removing `subject`; `text` is the applicant's name, or the reason for a removal."""

    number: int
    kind: MotionKind
    subject: Address
    opener: Address
    text: str
    deadline: int
    opened: Position
    state: MotionState = MotionState.OPEN
    votes: Mapping[Address, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConsortiumState:
    """The consortium after some events. `former` are the sites that left or were removed, by account; `spells` are all
    memberships that ever were, in the order in which they began.
    """

    quorum_bps: int = 0
    motion_seconds: int = 0
    members: Mapping[Address, Member] = field(default_factory=dict)
    former: Mapping[Address, Member] = field(default_factory=dict)
    motions: Mapping[int, Motion] = field(default_factory=dict)
    spells: tuple[Spell, ...] = ()

    @property
    def threshold(self) -> int:
        """Votes that a motion needs."""
        return quorum(len(self.members), self.quorum_bps)

    @property
    def open_motions(self) -> dict[int, Motion]:
        """The motions that are not decided."""
        return {number: motion for number, motion in self.motions.items() if motion.state is MotionState.OPEN}

    @property
    def active_seats(self) -> int:
        """Bitmap of the members' seats."""
        return bitmap_of(*(member.seat for member in self.members.values()))

    def name_of(self, account: Address) -> str:
        """The name of a member, present or former; of anybody else the account itself."""
        member = self.members.get(account) or self.former.get(account)
        return member.name if member is not None else account

    def apply(self, event: ConsortiumEvent) -> "ConsortiumState":
        """Give the state after one more event; raises EventInvalid where it can't come next."""
        try:
            return self._apply(event)
        except LookupError as error:
            raise EventInvalid(f"{type(event).__name__} at {event.at} speaks of {error}, which is unknown") from error

    def _apply(self, event: ConsortiumEvent) -> "ConsortiumState":
        match event:
            case ConsortiumFounded(quorum_bps=quorum_bps, motion_seconds=motion_seconds):
                return replace(self, quorum_bps=quorum_bps, motion_seconds=motion_seconds)
            case SiteAdmitted(site=site, seat=seat, name=name):
                before = self.former.get(site)
                addresses = before.addresses if before is not None else ()
                former = {account: member for account, member in self.former.items() if account != site}
                member = Member(site, seat, name, event.at, addresses)
                spells = (*self.spells, Spell(site, seat, name, event.at))
                return replace(self, members={**self.members, site: member}, former=former, spells=spells)
            case SiteLeft(site=site):
                return self._without(site, event.at)
            case SiteRemoved(site=site, motion=by_vote):
                return self._without(site, event.at, by_vote)
            case AddressesPublished(site=site, multiaddrs=multiaddrs):
                moved = replace(self.members[site], addresses=multiaddrs)
                return replace(self, members={**self.members, site: moved})
            case MotionOpened():
                return self._with_motion(
                    Motion(
                        number=event.motion,
                        kind=event.kind,
                        subject=event.subject,
                        opener=event.opener,
                        text=event.text,
                        deadline=event.deadline,
                        opened=event.at,
                    )
                )
            case VoteCast(motion=number, voter=voter, approve=approve):
                motion = self.motions[number]
                return self._with_motion(replace(motion, votes={**motion.votes, voter: approve}))
            case MotionClosed(motion=number, state=state):
                return self._with_motion(replace(self.motions[number], state=state))
            case _:
                return self

    def _with_motion(self, motion: Motion) -> "ConsortiumState":
        return replace(self, motions={**self.motions, motion.number: motion})

    def _without(self, site: Address, at: Position, motion: int | None = None) -> "ConsortiumState":
        left = self.members[site]
        staying = {account: member for account, member in self.members.items() if account != site}
        spells = tuple(
            replace(spell, until=at, motion=motion) if spell.account == site and spell.until is None else spell
            for spell in self.spells
        )
        return replace(self, members=staying, former={**self.former, site: left}, spells=spells)
