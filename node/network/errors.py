"""Errors of the network.

NetworkError
├── ListenFailed      the host can't listen where it was told to (also OSError)
├── RequestFailed     a control message that was not answered
└── PullFailed        no source could give the whole blob
    └── BlobUnusable  the blob itself is at fault: every source would give the same bytes
"""

from collections.abc import Sequence

from node.network.port import PeerFault


class NetworkError(Exception):
    """Base of every error that the network raises on purpose."""

    code = "network.error"


class ListenFailed(NetworkError, OSError):
    """The host can't listen where it was told to."""

    code = "network.listen"


class RequestFailed(NetworkError):
    """A control message that was not answered; `fault` says why."""

    code = "network.request"

    def __init__(self, fault: PeerFault) -> None:
        super().__init__(str(fault))
        self.fault = fault


class PullFailed(NetworkError):
    """No source could give the whole blob; `faults` says why, one or more for each source."""

    code = "network.pull"

    def __init__(self, blob: bytes, faults: Sequence[PeerFault], reason: str | None = None) -> None:
        why = reason or "; ".join(map(str, faults)) or "no sources were given"
        super().__init__(f"blob {blob.hex()[:16]}: {why}")
        self.blob = blob
        self.faults = tuple(faults)


class BlobUnusable(PullFailed):
    """The blob itself is at fault (not a manifest, or too large): every source would give the same bytes."""

    code = "network.pull.unusable"
