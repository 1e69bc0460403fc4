"""A transaction takes effect exactly once, or its sender is told that it may not have."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_world import account

from ledger.account import Transaction
from ledger.errors import RpcRefused, RpcUnreachable, TransactionLost, TransactionTimeout
from ledger.memory import MemoryChain, RawLog, Trouble, TroubledRpc
from ledger.rpc import Rpc
from ledger.sender import Sender

KEY = account(1)
TARGET = account(2).address


class Clock:
    """Time that passes only where somebody pauses; `at` says what happens at which second."""

    def __init__(self) -> None:
        self.now = 0.0
        self.at: dict[float, Callable[[], Any]] = {}

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds
        for due in sorted(self.at):
            if due <= self.now:
                self.at.pop(due)()


class Target:
    """Counts what was executed, by call data."""

    def __init__(self) -> None:
        self.executed: Counter[bytes] = Counter()

    def __call__(self, transaction: Transaction) -> list[RawLog]:
        if transaction.call == b"revert":
            raise RpcRefused(3, "execution reverted")
        self.executed[transaction.call] += 1
        return []


def sender(rpc: Rpc, clock: Clock, timeout: float = 60.0) -> Sender:
    return Sender(rpc, KEY, 1, timeout=timeout, clock=clock, pause=clock.pause)


def script(troubles: dict[str, list[Trouble | None]]) -> Callable[[str], Trouble | None]:
    """Give each method its own sequence of troubles, and none after it."""
    return lambda method: troubles[method].pop(0) if troubles.get(method) else None


@pytest.mark.parametrize("waits", [True, False])
def test_nonces_follow_on_each_other_without_asking_again(waits: bool) -> None:
    target, asked = Target(), Counter[str]()
    chain = MemoryChain(execute=target, waits=waits)
    sending = sender(TroubledRpc(chain, lambda method: asked.update([method])), Clock())  # type: ignore[func-returns-value]
    for number in range(5):
        signed, receipt = sending.send(TARGET, bytes([number]), 50_000)
        assert (signed.nonce, receipt["status"]) == (number, "0x1")
    assert asked["eth_getTransactionCount"] == 1
    assert asked["eth_sendRawTransactionSync"] == (5 if waits else 1)  # where it's missing, it's asked for once
    assert asked["eth_sendRawTransaction"] == (0 if waits else 5)
    assert set(target.executed.values()) == {1}


def test_a_transaction_that_reverts_has_a_receipt_and_its_nonce_is_used() -> None:
    sending = sender(MemoryChain(execute=Target()), Clock())
    assert sending.send(TARGET, b"revert", 50_000)[1]["status"] == "0x0"
    assert sending.send(TARGET, b"next", 50_000)[0].nonce == 1


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("trouble", [Trouble.CUT_BEFORE, Trouble.CUT_AFTER, Trouble.UNREACHABLE])
def test_a_send_whose_connection_dies_takes_effect_once(trouble: Trouble, waits: bool) -> None:
    target = Target()
    send = "eth_sendRawTransactionSync" if waits else "eth_sendRawTransaction"
    troubles: dict[str, list[Trouble | None]] = {send: [trouble, trouble]}
    rpc = TroubledRpc(MemoryChain(execute=target, waits=waits), script(troubles))
    signed, receipt = sender(rpc, Clock()).send(TARGET, b"once", 50_000)
    assert (signed.nonce, receipt["status"], target.executed[b"once"]) == (0, "0x1", 1)


@given(st.lists(st.sampled_from([None, *Trouble]), max_size=40), st.booleans(), st.integers(1, 4))
def test_whatever_happens_to_the_calls_nothing_is_executed_twice_or_reported_wrongly(
    troubles: list[Trouble | None], waits: bool, count: int
) -> None:
    target, clock = Target(), Clock()
    rpc = TroubledRpc(MemoryChain(execute=target, waits=waits), lambda _: troubles.pop(0) if troubles else None)
    sending = sender(rpc, clock)
    for number in range(count):
        call = bytes([number])
        try:
            sending.send(TARGET, call, 50_000)
        except RpcUnreachable:
            assert target.executed[call] == 0
        except (TransactionTimeout, TransactionLost):
            assert target.executed[call] <= 1
        else:
            assert target.executed[call] == 1


def test_a_node_that_restarts_and_forgot_what_waited_gets_the_same_transaction_again() -> None:
    target, clock = Target(), Clock()
    chain = MemoryChain(execute=target, waits=False, automine=False)
    clock.at = {2.0: chain.drop_pool, 12.0: chain.mine}
    signed, _ = sender(chain, clock).send(TARGET, b"patient", 50_000)
    assert (signed.nonce, target.executed[b"patient"]) == (0, 1)
    assert clock.now >= 12.0


def test_a_transaction_that_waits_for_its_block_is_said_to(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    chain = MemoryChain(waits=False, automine=False)
    clock.at = {12.0: chain.mine}
    signed, _ = sender(chain, clock).send(TARGET, b"", 50_000)
    assert f"{signed.hash.hex()} is not in a block after" in caplog.text
    assert "is sent again" in caplog.text


def test_a_chain_that_makes_no_blocks_times_out_and_says_that_it_may_still_be_mined() -> None:
    chain, clock = MemoryChain(automine=False), Clock()
    with pytest.raises(TransactionTimeout, match="may still") as caught:
        sender(chain, clock, timeout=20).send(TARGET, b"", 50_000)
    assert len(caught.value.tx) == 32
    chain.mine()
    chain.automine = True
    assert sender(chain, clock).send(TARGET, b"", 50_000)[0].nonce == 1


def test_a_node_that_is_away_for_good_is_unreachable_and_nothing_was_sent() -> None:
    chain, clock, away = MemoryChain(execute=(target := Target())), Clock(), set[str]()
    rpc = TroubledRpc(chain, lambda method: Trouble.UNREACHABLE if method in away else None)
    sending = sender(rpc, clock)
    sending.send(TARGET, b"first", 50_000)
    away.update({"eth_sendRawTransactionSync", "eth_getTransactionReceipt", "eth_getTransactionCount"})
    with pytest.raises(RpcUnreachable):
        sending.send(TARGET, b"second", 50_000)
    away.clear()
    assert sending.send(TARGET, b"third", 50_000)[0].nonce == 1
    assert target.executed == {b"first": 1, b"third": 1}


def test_two_processes_with_one_key_both_get_through() -> None:
    target, clock = Target(), Clock()
    chain = MemoryChain(execute=target)
    one, other = sender(chain, clock), sender(chain, clock)
    for number in range(6):
        (one if number % 2 else other).send(TARGET, bytes([number]), 50_000)
    assert target.executed == {bytes([number]): 1 for number in range(6)}


def test_two_processes_that_say_the_same_are_heard_twice() -> None:
    """Their first transactions are the same bytes, since signatures are deterministic."""
    target, clock = Target(), Clock()
    chain = MemoryChain(execute=target, automine=False, waits=False)
    rival = KEY.sign(1, 0, TARGET, b"same", 50_000)
    stale = iter(["0x0"])

    class Late(MemoryChain):
        def call(self, method: str, *params: Any) -> Any:
            if method == "eth_getTransactionCount" and (nonce := next(stale, None)) is not None:
                chain.call("eth_sendRawTransaction", "0x" + rival.raw.hex())
                return nonce
            return chain.call(method, *params)

    clock.at = {1.0: chain.mine}
    signed, _ = sender(Late(), clock).send(TARGET, b"same", 50_000)
    assert (signed.nonce, target.executed[b"same"]) == (1, 2)


def test_a_nonce_that_another_process_used_while_ours_was_on_its_way_is_reported_as_lost() -> None:
    target, clock = Target(), Clock()
    chain = MemoryChain(execute=target)
    rival = KEY.sign(1, 0, TARGET, b"rival", 50_000)

    def next_trouble(method: str) -> Trouble | None:
        if method != "eth_sendRawTransactionSync" or b"rival" in target.executed:
            return None
        chain.call("eth_sendRawTransaction", "0x" + rival.raw.hex())
        return Trouble.CUT_BEFORE

    with pytest.raises(TransactionLost, match="another process uses this key"):
        sender(TroubledRpc(chain, next_trouble), clock).send(TARGET, b"ours", 50_000)
    assert target.executed == {b"rival": 1}


def test_a_key_whose_every_nonce_is_taken_says_so() -> None:
    class Greedy(MemoryChain):
        def call(self, method: str, *params: Any) -> Any:
            if method.startswith("eth_sendRaw"):
                raise RpcRefused(-32003, "nonce too low")
            return super().call(method, *params)

    with pytest.raises(TransactionLost, match="another process uses the key"):
        sender(Greedy(), Clock()).send(TARGET, b"", 50_000)


def test_a_definite_refusal_is_passed_on_and_the_nonce_is_not_used() -> None:
    chain, clock, refuse = MemoryChain(), Clock(), ["transaction type not supported here", ""]

    class Picky(MemoryChain):
        def call(self, method: str, *params: Any) -> Any:
            if method == "eth_sendRawTransactionSync" and refuse.pop(0):
                raise RpcRefused(-32000, "intrinsic gas too low")
            return chain.call(method, *params)

    sending = sender(Picky(), clock)
    with pytest.raises(RpcRefused, match="intrinsic gas"):
        sending.send(TARGET, b"", 100)
    assert sending.send(TARGET, b"", 50_000)[0].nonce == 0


def test_closing_ends_a_send_that_waits() -> None:
    chain, clock = MemoryChain(automine=False), Clock()
    sending = sender(chain, clock)
    clock.at = {1.0: sending.close}
    with pytest.raises(TransactionTimeout):
        sending.send(TARGET, b"", 50_000)
    assert clock.now < 5


def test_threads_share_one_key() -> None:
    target = Target()
    sending = Sender(MemoryChain(execute=target), KEY, 1, timeout=60)
    calls = [bytes([number]) for number in range(40)]
    threads = [
        threading.Thread(target=lambda part=calls[index::4]: [sending.send(TARGET, call, 50_000) for call in part])
        for index in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.executed == dict.fromkeys(calls, 1)
