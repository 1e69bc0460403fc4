"""How often one client may ask: a bucket of requests for each, which fills again at a steady rate."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from ledger.api.problems import Refused

MOST_CLIENTS: Final = 4096
PER_SECOND: Final = 50.0
AT_ONCE: Final = 200.0


class Rates:
    """Counts requests by client; those that haven't asked for longest are forgotten, so that it stays small."""

    def __init__(
        self,
        per_second: float = PER_SECOND,
        at_once: float = AT_ONCE,
        *,
        clock: Callable[[], float] = time.monotonic,
        most_clients: int = MOST_CLIENTS,
    ) -> None:
        self._per_second = per_second
        self._at_once = at_once
        self._clock = clock
        self._most_clients = most_clients
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def spend(self, client: str) -> None:
        """Let one request through; raises Refused where the client's bucket is empty."""
        now = self._clock()
        left, since = self._buckets.pop(client, (self._at_once, now))
        left = min(self._at_once, left + (now - since) * self._per_second)
        self._buckets[client] = (max(left - 1, 0.0) if left >= 1 else left, now)
        if len(self._buckets) > self._most_clients:
            self._buckets.popitem(last=False)
        if left < 1:
            wait = max(1, math.ceil((1 - left) / self._per_second))
            raise Refused(
                429,
                "audit_api.too_often",
                f"at most {self._per_second:g} requests a second from one client; try again in {wait} s",
                headers={"retry-after": str(wait)},
            )
