"""The times that the network goes by, in seconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tuning:
    """Defaults for sites on the Internet; tests shorten them."""

    stall: float = 10.0  # no byte of an answer, or no room for one, for this long: the peer is dropped
    connect: float = 5.0  # to dial one address with its handshake, and to open a channel
    retry: float = 0.2  # before a lost or failed connection is tried again; doubles up to `retry_most`
    retry_most: float = 10.0
    courtesy: float = 1.0  # that the higher address of a pair leaves the lower one to dial first
    stagger: float = 0.25  # between attempts at a member's several addresses
    relay_after: float = 1.0  # that direct attempts at a member get before relays are tried as well
    punch: float = 3.0  # in which two sites dial each other at once, to get through their routers
    ask: float = 10.0  # between questions to peers where an unreachable member is
    reachable: float = 600.0  # between questions to peers whether they can dial us
    look: float = 10.0  # between looks at our own addresses, and at our reservations
    ping: float = 5.0  # of silence, after which a peer is asked for a sign of life
    dead: float = 15.0  # of silence, after which a connection is cut
    send: float = 20.0  # for 256 KiB to fit into the socket's buffer
