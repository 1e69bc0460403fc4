"""The network as the rest of a site sees it: members by their Ethereum address, blobs by their hash.

The libp2p host and the in-memory twin both implement `Network`, and one conformance suite runs against each. A site's
identity outside this package is its checksummed Ethereum address; that it is also a libp2p peer ID stays inside.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import trio

from node.version import OLDEST_PROTOCOL, PROTOCOL
from swarm.manifest import Manifest

Address = str

MAX_REQUEST_BYTES = 1 << 16


class FaultKind(StrEnum):
    """What was wrong with a peer."""

    UNREACHABLE = "unreachable"  # no connection, or it broke
    REFUSED = "refused"  # the peer says that we may not have it
    MISSING = "missing"  # the peer doesn't have the blob
    CORRUPT = "corrupt"  # bytes that aren't what their hash says
    MALFORMED = "malformed"  # frames that break the protocol
    STALLED = "stalled"  # no byte for too long
    MISMATCH = "mismatch"  # another protocol version, chain or contract


@dataclass(frozen=True, slots=True)
class PeerFault:
    """A note about what a peer did, or failed to do."""

    address: Address
    kind: FaultKind
    detail: str

    def __str__(self) -> str:
        return f"{self.address} {self.kind}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Hello:
    """What two sites must agree on before they talk; the software version is for people and may differ.

    `relays` where the site carries connections between members that can't reach each other.
    """

    chain_id: int
    contract: Address
    software: str
    protocol: int = PROTOCOL
    oldest: int = OLDEST_PROTOCOL
    relays: bool = False

    def disagreement(self, theirs: "Hello") -> str | None:
        """Why a site that says `theirs` can't work with this one, in a sentence for this one's operator; else None."""
        if theirs.protocol < self.oldest or self.protocol < theirs.oldest:
            return self._versions(theirs)
        if (theirs.chain_id, theirs.contract.lower()) == (self.chain_id, self.contract.lower()):
            return None
        return (
            f"it follows contract {theirs.contract.lower()} on chain {theirs.chain_id}, "
            f"this site follows {self.contract.lower()} on chain {self.chain_id}"
        )

    def stranger(self, protocol: str) -> str:
        """Why a site that doesn't even know how to say hello can't work with this one."""
        return (
            f"it doesn't speak {protocol}, so it runs a version from before protocol 2, or other software; this site "
            f"runs {self.software} (protocol {self.protocol}): its operator must upgrade it"
        )

    def _versions(self, theirs: "Hello") -> str:
        late = theirs.protocol < self.oldest
        needed = self.oldest if late else theirs.oldest
        who = "its operator must upgrade it" if late else "this site must be upgraded"
        return (
            f"it runs {theirs.software} (protocol {theirs.protocol}), this site runs {self.software} "
            f"(protocol {self.protocol}): {who} to protocol {needed} or later"
        )


@dataclass(frozen=True, slots=True)
class PeerView:
    """One member as this site sees it now.

    `relay` is the member that carries the connection, None where it is direct or there is none; `hello` is what the
    member said last, on a connection that was refused as well; `fault` is why there is no connection.
    """

    address: Address
    connected: bool
    relay: Address | None = None
    hello: Hello | None = None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes of our frames that were exchanged with a peer since the start."""

    sent: int = 0
    received: int = 0


MayServe = Callable[[Address, bytes], bool]
"""Whether a member may have a blob; called in the event loop for each request, so it must be quick."""

OnFault = Callable[[PeerFault], None]
"""Told about faults in the event loop; it must be quick and must not raise."""

Handler = Callable[[Address, bytes], Awaitable[bytes]]
"""Answers a control message of a member; what it raises, the member hears of as a failed request."""


if TYPE_CHECKING:
    # libp2p brings stubs of an older trio, in which TaskStatus is not where trio itself now has it.
    from trio_typing import TaskStatus

    Started = TaskStatus[None]
else:
    Started = trio.TaskStatus


class Network(Protocol):
    """A site's connection to the other members."""

    @property
    def address(self) -> Address:
        """This site's own address."""
        ...

    async def run(self, *, task_status: Started = trio.TASK_STATUS_IGNORED) -> None:
        """Listen, connect and serve until cancelled; started once `addresses` is known. Raises ListenFailed."""
        ...

    def addresses(self) -> list[str]:
        """Multiaddrs at which this site can be dialled, each with its /p2p/ suffix; for the ledger."""
        ...

    def set_members(self, members: Mapping[Address, Sequence[str]]) -> None:
        """Replace the access list and the addresses to dial; who is no longer listed is cut off at once."""
        ...

    def connected(self) -> set[Address]:
        """Members that have said hello and are connected now."""
        ...

    def hellos(self) -> dict[Address, Hello]:
        """What each connected member said of itself."""
        ...

    def peers(self) -> list[PeerView]:
        """Every other member, reachable or not."""
        ...

    async def pull(self, blob: bytes, sources: Sequence[Address], *, max_bytes: int) -> Manifest:
        """Fetch a blob into the store from whichever sources have it, each chunk verified on arrival.

        Gives the manifest at once where the blob is already here, and goes on where an earlier pull was cut. A source
        that fails is dropped and noted. `max_bytes` bounds the vector. Raises BlobUnusable where the blob itself is at
        fault, PullFailed where no source could give all of it, and what our own store raises.
        """
        ...

    async def request(self, address: Address, kind: str, payload: bytes) -> bytes:
        """Send a control message of at most 64 KiB and give the answer; raises RequestFailed."""
        ...

    def handle(self, kind: str, handler: Handler) -> None:
        """Answer control messages of one kind; replaces an earlier handler."""
        ...

    def traffic(self) -> dict[Address, Traffic]:
        """Bytes exchanged with each peer since the start."""
        ...
