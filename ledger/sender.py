"""Sending transactions: each takes effect exactly once, or the caller learns that it didn't.

A signed transaction is never replaced by another one while it could still be mined: where a connection dies in the
middle of a send, the very same bytes go out again, which the chain takes once. A new nonce is chosen only for a
transaction that no node can have kept.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from ledger.account import Account, SignedTransaction
from ledger.errors import RpcRefused, RpcUnreachable, TransactionLost, TransactionTimeout
from ledger.rpc import SYNC_TIMEOUT, Rpc, data, read_number
from ledger.types import Address

RawReceipt = Mapping[str, Any]
_Answer = TypeVar("_Answer")
_log = logging.getLogger(__name__)
_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 0.5
_RESEND_AFTER: Final = 5.0
_LOST_AFTER: Final = 5.0
_NONCE_ATTEMPTS: Final = 20
_NONCE_PAUSE: Final = 0.1
_NO_SUCH_METHOD: Final = -32601


class _NonceTakenError(Exception):
    """Another transaction of this key has the nonce, and nobody kept ours."""


def _says(refusal: RpcRefused, *phrases: str) -> bool:
    message = refusal.message.lower()
    return any(phrase in message for phrase in phrases)


def _checked(receipt: Any) -> RawReceipt | None:
    """Make sure that an answer is a receipt, or None; raises RpcUnreachable."""
    if receipt is None:
        return None
    if not isinstance(receipt, Mapping) or not isinstance(receipt.get("logs"), list):
        raise RpcUnreachable("the chain's node answers with something that is no receipt")
    for field in ("status", "blockNumber", "gasUsed"):
        read_number(receipt.get(field))
    return receipt


def _is_missing_method(refusal: RpcRefused) -> bool:
    """Say whether a node doesn't know a method; anvil answers so with another code than the standard's."""
    return refusal.number == _NO_SUCH_METHOD or _says(
        refusal, "method not found", "not supported", "did not match any variant", "does not exist/is not available"
    )


class Sender:
    """The transactions of one key, one at a time; safe to use from several threads.

    The nonce is counted here, and read from the chain at the start and after every trouble, so that several processes
    may use one key, though each then costs the other a retry now and then. `timeout` is how long to wait for a block.
    """

    def __init__(
        self,
        rpc: Rpc,
        account: Account,
        chain_id: int,
        *,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self.account = account
        self._rpc = rpc
        self._chain_id = chain_id
        self._timeout = timeout
        self._clock = clock
        self._closed = threading.Event()
        self._pause = pause if pause is not None else self._closed.wait
        self._lock = threading.Lock()
        self._nonce: int | None = None
        self._waits = True  # whether the node has eth_sendRawTransactionSync

    def send(self, to: Address | None, call: bytes, gas: int) -> tuple[SignedTransaction, RawReceipt]:
        """Sign and send a call, and give its receipt, also where it reverted.

        Raises TransactionTimeout, TransactionLost, RpcRefused where the node won't have it, RpcUnreachable where it
        wasn't reached at all.
        """
        with self._lock:
            for _ in range(_NONCE_ATTEMPTS):
                nonce = self._nonce if self._nonce is not None else self._read_nonce()
                self._nonce = None  # until this one is settled
                signed = self.account.sign(self._chain_id, nonce, to, call, gas)
                try:
                    receipt = _Delivery(self, signed).settle()
                except _NonceTakenError:
                    self._pause(_NONCE_PAUSE)
                    continue
                self._nonce = nonce + 1
                return signed, receipt
        raise TransactionLost(
            f"{_NONCE_ATTEMPTS} nonces in a row were taken by others: another process uses the key of "
            f"{self.account.address}; stop it",
            signed.hash,
        )

    def read(self, question: Callable[[], _Answer]) -> _Answer:
        """Ask as patiently as a send does: what was mined must not be reported as unreachable."""
        begun, pause = self._clock(), _FIRST_PAUSE
        while True:
            try:
                return question()
            except RpcUnreachable:
                if self._clock() - begun > self._timeout or self.is_closed:
                    raise
            self._pause(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is to be waited for."""
        return self._closed.is_set()

    def close(self) -> None:
        """Let a send that waits give up now, as if its time were over."""
        self._closed.set()

    def _read_nonce(self) -> int:
        return self.read(
            lambda: read_number(self._rpc.call("eth_getTransactionCount", self.account.address, "pending"))
        )


class _Delivery:
    """One signed transaction on its way."""

    def __init__(self, sender: Sender, signed: SignedTransaction) -> None:
        self._sender = sender
        self._rpc = sender._rpc
        self._signed = signed
        self._begun = sender._clock()
        self._left = False  # whether it may have reached a node
        self._accepted_at: float | None = None
        self._low_since: float | None = None

    def settle(self) -> RawReceipt:
        """Bring the transaction into a block."""
        pause = _FIRST_PAUSE
        while True:
            trouble: RpcUnreachable | None = None
            try:
                receipt = self._step()
            except RpcUnreachable as error:
                self._left = self._left or error.may_have_acted
                trouble, receipt = error, None
            if receipt is not None:
                return receipt
            if self._sender._clock() - self._begun > self._sender._timeout or self._sender.is_closed:
                raise trouble if trouble is not None and not self._left else self._timeout() from trouble
            self._sender._pause(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _step(self) -> RawReceipt | None:
        """Ask for the receipt, and send where that is due; None while there is no receipt."""
        if self._left:
            receipt = self._receipt()
            if receipt is not None:
                return receipt
            if self._accepted_at is not None:
                if self._sender._clock() - self._accepted_at < _RESEND_AFTER:
                    return None
                self._warn()
        try:
            return self._submit()
        except RpcRefused as refusal:
            return self._refused(refusal)

    def _submit(self) -> RawReceipt | None:
        if self._sender._waits:
            try:
                receipt = self._rpc.call("eth_sendRawTransactionSync", data(self._signed.raw))
            except RpcRefused as refusal:
                if not _is_missing_method(refusal):
                    raise
                self._sender._waits = False
            else:
                self._left = True
                return _checked(receipt)
        self._rpc.call("eth_sendRawTransaction", data(self._signed.raw))
        self._left, self._accepted_at = True, self._sender._clock()
        return None

    def _refused(self, refusal: RpcRefused) -> RawReceipt | None:
        """Find out what a refusal means for this transaction."""
        if _says(refusal, "already known", "already imported", "known transaction"):
            if not self._left:  # signatures are deterministic: another process of this key sent the very same call
                raise _NonceTakenError from refusal
            self._accepted_at = self._sender._clock()
            return None
        if _says(refusal, "nonce too low", "underpriced", "nonce below", "old nonce"):
            if not self._left:
                raise _NonceTakenError from refusal
            return self._receipt_or_lost(refusal)
        if refusal.number == SYNC_TIMEOUT or _says(refusal, "timeout", "timed out") or self._is_pending():
            self._left, self._accepted_at = True, self._sender._clock()
            return None
        raise refusal

    def _receipt_or_lost(self, refusal: RpcRefused) -> RawReceipt | None:
        """Wait a little for the receipt of a transaction that was sent before and whose nonce is now used."""
        receipt = self._receipt()
        if receipt is not None:
            return receipt
        self._low_since = self._low_since or self._sender._clock()
        if self._sender._clock() - self._low_since < _LOST_AFTER:
            return None
        raise TransactionLost(
            f"transaction {data(self._signed.hash)} was sent, and its nonce {self._signed.nonce} was then used by "
            "another one: another process uses this key, or the chain was reset; look at the ledger before sending "
            "again",
            self._signed.hash,
        ) from refusal

    def _receipt(self) -> RawReceipt | None:
        return _checked(self._rpc.call("eth_getTransactionReceipt", data(self._signed.hash)))

    def _is_pending(self) -> bool:
        return self._rpc.call("eth_getTransactionByHash", data(self._signed.hash)) is not None

    def _warn(self) -> None:
        _log.warning(
            "transaction %s is not in a block after %.0f s and is sent again; does the chain make blocks, and does its "
            "node pass transactions on?",
            data(self._signed.hash),
            self._sender._clock() - self._begun,
        )

    def _timeout(self) -> TransactionTimeout:
        return TransactionTimeout(
            f"transaction {data(self._signed.hash)} is not in a block after {self._sender._timeout:g} s and may still "
            "get into one; see whether the chain makes blocks and look at the ledger before sending again",
            self._signed.hash,
        )
