"""The one thread that writes: it keeps the index in step with the chain, and says when there is something new."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from ledger.api.snapshot import Snapshot, View
from ledger.errors import IndexRewritten, LedgerError
from ledger.index import Indexer

POLL_SECONDS: Final = 1.0
MOST_SECONDS: Final = 30.0
logger = logging.getLogger(__name__)


class Follower:
    """Follows the chain until told to stop; `tell` hears of every new snapshot, in the follower's thread."""

    def __init__(
        self, indexer: Indexer, view: View, tell: Callable[[Snapshot], None], *, poll_seconds: float = POLL_SECONDS
    ) -> None:
        self._indexer = indexer
        self._view = view
        self._tell = tell
        self._poll_seconds = poll_seconds
        self._wait = poll_seconds
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait until the index isn't written any more."""
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.is_set():
            if not self._follow():
                return
            self._is_over.wait(self._wait)

    def _follow(self) -> bool:
        """Read what is new; gives whether it makes sense to go on."""
        before = self._view.snapshot
        try:
            self._indexer.catch_up()
            after = self._view.refresh()
            self._wait = self._poll_seconds
        except IndexRewritten as error:
            logger.error("the chain's history was rewritten: %s", error)
            self._tell(self._view.is_in_trouble(str(error)))
            return False
        except LedgerError as error:
            logger.warning("the chain can't be followed: %s", error)
            after = self._view.is_in_trouble(str(error))
            self._wait = min(2 * self._wait, MOST_SECONDS)
        except Exception:  # the boundary of the thread: the pages go on, and say that they are old
            logger.exception("following the chain failed")
            after = self._view.is_in_trouble("an unexpected error, which the service's log has")
            self._wait = MOST_SECONDS
        if after.tag != before.tag:
            self._tell(after)
        return True
