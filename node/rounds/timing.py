"""The log line that says of each round where its seconds went at this site."""

from collections.abc import Callable

from ledger.state import StudyState
from node import log
from node.chain import Chain
from node.network.port import Network
from node.rounds.stopwatch import Stopwatch
from node.tally import Tally


class RoundTiming:
    """Logs `round_timing` when a round becomes final: the stopwatch's lap since the one before it was.

    `sent` and `received` are the bytes exchanged with other sites since this one was started.
    """

    def __init__(
        self,
        stopwatch: Stopwatch,
        network: Network,
        state: Callable[[], StudyState],
        logger: log.Logger,
        tally: Tally | None = None,
    ) -> None:
        self._stopwatch = stopwatch
        self._network = network
        self._state = state
        self._log = logger
        self._tally = tally or Tally()
        self._told = self._last_final()

    async def follow(self, chain: Chain) -> None:
        """Tell of each round, for ever."""
        while True:
            await chain.changed()
            self.tell()

    def tell(self) -> None:
        """Tell of the last final round, unless that was done."""
        number = self._last_final()
        if number == self._told:
            return
        self._told = number
        traffic = self._network.traffic().values()
        sent, received = sum(peer.sent for peer in traffic), sum(peer.received for peer in traffic)
        lap = self._stopwatch.lap()
        self._tally.round_ended(self._state().number, lap)
        self._log.info("round_timing", round=number, **lap, sent=sent, received=received)

    def _last_final(self) -> int | None:
        return next((one.number for one in reversed(self._state().rounds) if one.final is not None), None)
