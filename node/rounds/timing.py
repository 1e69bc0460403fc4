"""What is kept and logged of each round: where its seconds and bytes went at this site."""

from collections.abc import Callable

from ledger.state import StudyState
from node import log
from node.chain import Chain
from node.network.port import Network
from node.rounds.stopwatch import Stopwatch
from node.study_folder import StudyFolder
from node.tally import Tally


class RoundTiming:
    """Notes when a round becomes final: the stopwatch's lap since the one before it was, and the bytes exchanged.

    The log's `round_timing` has `sent` and `received` since this site was started, the study's folder those of the lap;
    both are the bytes of all studies that this site takes part in.
    """

    def __init__(
        self,
        stopwatch: Stopwatch,
        network: Network,
        state: Callable[[], StudyState],
        folder: StudyFolder,
        logger: log.Logger,
        tally: Tally | None = None,
    ) -> None:
        self._stopwatch = stopwatch
        self._network = network
        self._state = state
        self._folder = folder
        self._log = logger
        self._tally = tally or Tally()
        self._told = self._last_final()
        self._before = self._traffic()

    async def follow(self, chain: Chain) -> None:
        """Tell of each round, for ever."""
        while True:
            await chain.changed()
            self.tell()

    def tell(self) -> None:
        """Tell of the last final round, unless that was done."""
        number = self._last_final()
        if number is None or number == self._told:
            return
        self._told = number
        lap, (sent, received) = self._stopwatch.lap(), self._traffic()
        self._tally.round_ended(self._state().number, lap)
        self._log.info("round_timing", round=number, **lap, sent=sent, received=received)
        (sent_before, received_before), self._before = self._before, (sent, received)
        try:
            exchanged = {"sent": sent - sent_before, "received": received - received_before}
            self._folder.note_timing(number, {**lap, **exchanged})
        except OSError as error:  # the round goes on without the note
            self._log.warning("timing_not_kept", round=number, reason=str(error))

    def _traffic(self) -> tuple[int, int]:
        traffic = self._network.traffic().values()
        return sum(peer.sent for peer in traffic), sum(peer.received for peer in traffic)

    def _last_final(self) -> int | None:
        return next((one.number for one in reversed(self._state().rounds) if one.final is not None), None)
