"""What peers did, told to the site once: nobody may fill its log."""

import trio

from node.network.port import Address, FaultKind, OnFault, PeerFault

NOTE_SECONDS = 10.0  # in which one kind of fault of one caller is noted once


class Notes:
    """Passes faults on, fewer than there are."""

    def __init__(self, on_fault: OnFault) -> None:
        self._on_fault = on_fault
        self._noted: dict[tuple[Address, FaultKind], float] = {}
        self._mismatches: dict[Address, str] = {}

    def note(self, fault: PeerFault) -> None:
        """Pass on a fault; that a member doesn't fit is news once, whoever called whom and how often."""
        if fault.kind is FaultKind.MISMATCH:
            if self._mismatches.get(fault.address) == fault.detail:
                return
            self._mismatches[fault.address] = fault.detail
        self._on_fault(fault)

    def caller(self, address: Address, kind: FaultKind, detail: str) -> None:
        """Pass on what a caller did, but not as often as it can do it."""
        now = trio.current_time()
        if now >= self._noted.get((address, kind), -NOTE_SECONDS) + NOTE_SECONDS:
            self._noted[address, kind] = now
            self.note(PeerFault(address, kind, detail))

    def fits(self, address: Address) -> None:
        """A member is connected: if it doesn't fit one day, that is news again."""
        self._mismatches.pop(address, None)
