"""Several nodes of one chain as one: the next is asked where the present one fails, lags behind or contradicts."""

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

from ledger.errors import RpcRefused, RpcUnreachable
from ledger.rpc import SYNC_TIMEOUT, NodeRpc

OnSwitch = Callable[[str, str], None]
_SENDS: Final = "eth_send"


def _ignore(to: str, why: str) -> None:
    pass


class Endpoints:
    """An operator's nodes, asked one at a time, in turn. Safe to use from several threads.

    A read that one doesn't answer goes to the next, once round. A send doesn't: only its sender knows what it means.
    But a transaction that is sent again has not been mined where it went first, so the next node gets it. Whoever
    follows the chain calls `move_on` where a node lags or contradicts what it said before.
    """

    def __init__(self, nodes: Sequence[NodeRpc], on_switch: OnSwitch = _ignore) -> None:
        """Take one or more nodes, the preferred one first; `on_switch` is told which is asked from now on, and why."""
        self._nodes = tuple(nodes)
        self._on_switch = on_switch
        self._lock = threading.Lock()
        self._turn = 0
        self._taken = ""  # the last transaction that the present node took

    def __str__(self) -> str:
        return str(self._node(self._turn))

    @property
    def count(self) -> int:
        """How many nodes there are."""
        return len(self._nodes)

    def call(self, method: str, *params: Any) -> Any:
        """Call a method and give its result; raises RpcRefused for an error answer, RpcUnreachable for none."""
        if method.startswith(_SENDS):
            return self._send(method, *params)
        failures: list[RpcUnreachable] = []
        for _ in self._nodes:
            turn = self._turn
            try:
                return self._node(turn).call(method, *params)
            except RpcUnreachable as error:
                failures.append(error)
                self._move_on_from(turn, str(error))
        raise _all_of(failures)

    def move_on(self, why: str) -> None:
        """Ask the next node from now on."""
        self._move_on_from(self._turn, why)

    def close(self) -> None:
        """Close all connections; calls that wait on them in other threads, and later ones, raise RpcUnreachable."""
        for node in self._nodes:
            node.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, method: str, *params: Any) -> Any:
        transaction = str(params[0]) if params else ""
        if transaction and transaction == self._taken:
            self.move_on("a transaction that it took is not in a block")
        turn, self._taken = self._turn, ""
        try:
            answer = self._node(turn).call(method, *params)
        except RpcUnreachable as error:
            self._move_on_from(turn, str(error))
            raise
        except RpcRefused as refusal:
            if refusal.number == SYNC_TIMEOUT:
                self._taken = transaction
            raise
        self._taken = transaction
        return answer

    def _node(self, turn: int) -> NodeRpc:
        return self._nodes[turn % len(self._nodes)]

    def _move_on_from(self, turn: int, why: str) -> None:
        with self._lock:
            if turn != self._turn or len(self._nodes) == 1:
                return  # somebody was quicker, or there is nowhere to go
            self._turn += 1
        self._on_switch(str(self), why)


def _all_of(failures: Sequence[RpcUnreachable]) -> RpcUnreachable:
    if len(failures) == 1:
        return failures[0]
    told = "; ".join(map(str, failures))
    return RpcUnreachable(told, may_have_acted=any(failure.may_have_acted for failure in failures))
