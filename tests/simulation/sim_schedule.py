"""What befalls a simulated swarm, and when: values that hypothesis draws and shrinks."""

from dataclasses import dataclass
from enum import StrEnum

from hypothesis import strategies as st

from ledger.state import quorum

QUORUM_BPS = 6667
"""As the studies here ask for."""


class Trouble(StrEnum):
    """What can happen to one site for a while."""

    KILL = "kill"  # its process dies at this instant; disk and ledger stay; it starts again when the trouble is over
    CHAIN_OUT = "chain out"  # its chain node doesn't answer; transactions on their way are mined unseen
    CHAIN_LATE = "chain late"  # its chain node shows blocks some seconds late
    UNREACHABLE = "unreachable"  # no other site can reach it, nor it them
    STALL = "stall"  # it takes requests and sends nothing
    CORRUPT = "corrupt"  # what it sends is altered on the way
    SPLIT = "split"  # the sites up to this one can't reach those after it
    DISK_FULL = "disk full"  # it can't keep another blob
    TRAINER_BROKEN = "trainer broken"  # its training process fails whatever it is asked
    WITHDRAW = "withdraw"  # it leaves the study, for good
    LEAVE = "leave"  # it leaves the consortium, for good


class Lie(StrEnum):
    """What a site can do that an honest one never does."""

    WRONG_OUTPUT = "wrong output"  # as leader, publishes a hash that is no merge
    OMIT = "omit"  # as leader, leaves a fit input out and calls it unreachable
    FALSE_REASON = "false reason"  # as leader, leaves a fit input out and calls it over the clip bound
    SILENT = "silent"  # as leader, publishes nothing
    NO_BLOB = "no blob"  # commits the hash of nothing
    OVER_CLIP = "over clip"  # commits an update beyond the clip bound
    COPY = "copy"  # commits the hash of the model that it should start from
    TWICE = "twice"  # commits again at once
    WITHHOLD = "withhold"  # serves what it has to every other site only
    REJECT = "reject"  # rejects what it verified
    ATTEST = "attest"  # attests to what it found wrong
    MUTE = "mute"  # votes on nothing


LASTING = (Trouble.KILL, Trouble.WITHDRAW, Trouble.LEAVE, Trouble.TRAINER_BROKEN)
PASSING = tuple(trouble for trouble in Trouble if trouble not in (Trouble.WITHDRAW, Trouble.LEAVE))


@dataclass(frozen=True)
class Mishap:
    """A trouble of one site, from some second on, for some seconds; one that `lasts`, for ever."""

    trouble: Trouble
    site: int
    at: float
    seconds: float
    lasts: bool = False

    @property
    def end(self) -> float:
        return self.at if self.lasts else self.at + self.seconds


@dataclass(frozen=True)
class Schedule:
    """One history to come. The last `late` sites accept the study while it runs; `lies` are by site."""

    seed: int
    sites: int
    min_sites: int
    rounds: int
    statistics: bool
    late: int
    lies: tuple[tuple[int, Lie], ...]
    mishaps: tuple[Mishap, ...]

    @property
    def liars(self) -> frozenset[int]:
        return frozenset(site for site, _ in self.lies)

    @property
    def lost(self) -> frozenset[int]:
        """Sites that die, withdraw, leave or can't train any more, for good."""
        return frozenset(mishap.site for mishap in self.mishaps if mishap.lasts)

    @property
    def gone(self) -> frozenset[int]:
        """Sites that are no more; who can't train may still vote."""
        lasting = (mishap for mishap in self.mishaps if mishap.lasts)
        return frozenset(mishap.site for mishap in lasting if mishap.trouble is not Trouble.TRAINER_BROKEN)

    @property
    def reliable(self) -> frozenset[int]:
        """Sites that are honest, take part from the start and are there when the faults are over."""
        return frozenset(range(self.sites - self.late)) - self.liars - self.lost

    @property
    def quiet_from(self) -> float:
        """The second from which on nothing more happens to anybody."""
        return max((mishap.end for mishap in self.mishaps), default=0.0)

    @property
    def has_quorum(self) -> bool:
        """Whether the reliable sites can make and carry a round, whatever the liars do."""
        up = len(self.reliable)
        return up >= self.min_sites and up >= quorum(up + len(self.liars - self.gone), QUORUM_BPS)


@st.composite
def _passing(draw: st.DrawFn, sites: int) -> Mishap:
    trouble = draw(st.sampled_from([*PASSING, Trouble.KILL, Trouble.KILL]))
    site, at = draw(st.integers(0, sites - 1)), draw(st.integers(0, 100)) / 4
    return Mishap(trouble, site, at, draw(st.integers(1, 120)) / 4)


@st.composite
def _lasting(draw: st.DrawFn, sites: int) -> Mishap:
    site, at = draw(st.integers(0, sites - 1)), draw(st.integers(0, 100)) / 4
    return Mishap(draw(st.sampled_from(LASTING)), site, at, 0.0, lasts=True)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """Draw a schedule whose liars are too few to make up an attestation quorum of the smallest round.

    Whoever else leaves: of fewer than `min_sites` voters the contract makes no quorum.
    """
    sites = draw(st.integers(3, 6))
    min_sites = draw(st.integers(2, max(2, sites - 1)))
    most_liars = min(quorum(min_sites, QUORUM_BPS) - 1, sites - 2, 2)
    liars = draw(st.lists(st.integers(0, sites - 1), max_size=most_liars, unique=True))
    lies = tuple((liar, draw(st.sampled_from(Lie))) for liar in liars for _ in range(draw(st.integers(1, 3))))
    lasting = draw(st.lists(_lasting(sites), max_size=2))
    late = draw(st.integers(0, max(0, min(1, sites - min_sites - 1))))
    passing = draw(st.lists(_passing(sites), max_size=10))
    return Schedule(
        seed=draw(st.integers(0, 2**32 - 1)),
        sites=sites,
        min_sites=min_sites,
        rounds=draw(st.integers(1, 4)),
        statistics=draw(st.booleans()),
        late=late,
        lies=lies,
        mishaps=(*passing, *lasting),
    )
