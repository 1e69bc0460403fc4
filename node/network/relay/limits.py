"""What a relay gives each member, and all of them together; and when a site uses relays itself."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """Suited to models: libp2p's usual 128 KiB and two minutes carry a chat, not a round."""

    reservations: int = 256  # as many as a consortium has seats
    reservation_seconds: float = 3600.0
    circuits: int = 256
    circuits_per_member: int = 32  # at either end
    circuit_bytes: int = 16 << 30  # each way; then the two sites connect anew
    circuit_seconds: float = 6 * 3600.0
    requests_per_minute: int = 60  # by one member


class UseRelays(StrEnum):
    """When a site asks relays to take calls for it."""

    AUTO = "auto"  # where a connected member can't dial it
    ALWAYS = "always"
    NEVER = "never"
