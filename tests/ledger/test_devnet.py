"""The devnet comes back as it was, whoever was killed, and leaves nothing running."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
import pytest
from ledger_world import TERMS, account, found

import contracts
from ledger.account import Account
from ledger.client import Ledger
from ledger.devnet import Devnet, anvil, find_anvil
from ledger.devnet.anvil import cache_folder, package
from ledger.devnet.chain import SLOWEST_HEARTBEAT_SECONDS, beat_after
from ledger.errors import AnvilMissing, DevnetError, JournalInvalid, LedgerError, RpcRefused, RpcUnreachable
from ledger.rpc import NodeRpc, connect, data
from ledger.sender import Sender
from ledger.stream import EventStream


def hashes(rpc: NodeRpc) -> list[str]:
    head = int(rpc.call("eth_blockNumber"), 16)
    return [rpc.call("eth_getBlockByNumber", hex(number), False)["hash"] for number in range(head + 1)]


def send(rpc: NodeRpc, sender: Account, nonce: int) -> int:
    """Send a transaction and give its block, once its receipt is here."""
    raw = data(sender.sign(4711, nonce, account(1).address, b"x", 30_000).raw)
    return int(rpc.call("eth_sendRawTransactionSync", raw)["blockNumber"], 16)


def wait_gone(pid: int) -> None:
    """Wait until a process has ended, whoever has to reap it."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        while process.status() != psutil.STATUS_ZOMBIE:
            threading.Event().wait(0.01)


def test_it_starts_mines_at_once_and_stops(tmp_path: Path) -> None:
    with Devnet.start(tmp_path) as devnet:
        assert devnet.is_running
        rpc = devnet.rpc()
        assert rpc.call("eth_chainId") == hex(devnet.chain_id)
        before = int(rpc.call("eth_blockNumber"), 16)
        assert [send(rpc, account(7), nonce) - before > nonce for nonce in range(3)] == [True] * 3
        with connect(devnet.url) as http:
            assert hashes(http)[: before + 3] == hashes(rpc)[: before + 3]
        pid = devnet.pid
    wait_gone(pid)
    assert not devnet.is_running
    devnet.stop()
    for use in (devnet.restart, lambda: devnet.url, lambda: devnet.advance(1), lambda: devnet.pid):
        with pytest.raises(DevnetError):
            use()


def test_a_chain_is_the_same_after_a_stop(tmp_path: Path) -> None:
    with Devnet.start(tmp_path) as devnet:
        world = found(devnet, 3)
        study = world.run_study()
        events = EventStream(world.ledger).poll()
        before = hashes(devnet.rpc())
    with Devnet.start(tmp_path) as devnet:
        assert hashes(devnet.rpc())[: len(before)] == before
        ledger = Ledger(devnet.rpc(), world.deployment, world.sites[0].ledger.account)
        ledger.check()
        assert EventStream(ledger).poll() == events
        assert ledger.view_study(study).round == 1


def test_two_chains_never_begin_alike(tmp_path: Path) -> None:
    with Devnet.start(tmp_path / "one") as one, Devnet.start(tmp_path / "two") as two:
        assert hashes(one.rpc())[0] != hashes(two.rpc())[0]


def test_clients_and_contracts_go_on_after_anvil_was_killed(own_devnet: Devnet) -> None:
    """A commit names a block and its hash, which the contract looks up: it must still know those from before."""
    world = found(own_devnet, 3)
    study = world.run_study(TERMS)
    world.commit(world.sites[0], study, 1)
    reader = EventStream(world.ledger)
    seen = len(reader.poll())
    commitment = world.commitment(world.sites[1])
    before = hashes(own_devnet.rpc())
    os.kill(own_devnet.pid, signal.SIGKILL)
    wait_gone(own_devnet.pid)
    with pytest.raises(RpcUnreachable):
        world.ledger.head()
    own_devnet.restart()
    assert hashes(own_devnet.rpc())[: len(before)] == before
    world.sites[1].ledger.commit(study, 1, 0, commitment)
    world.sites[1].revealed += 1
    world.commit(world.sites[2], study, 1)
    assert seen
    assert [type(event).__name__ for event in reader.poll()] == ["UpdateCommitted"] * 2 + [
        "RoundSealed",
        "LeaderElected",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kills", [4])
def test_no_transaction_that_was_acknowledged_is_lost_when_anvil_is_killed_under_load(
    own_devnet: Devnet, kills: int
) -> None:
    """Four senders go on through every kill; each receipt they ever saw must be true at the end."""
    senders = [Sender(own_devnet.rpc(), account(50 + index), 4711, timeout=120) for index in range(4)]
    acknowledged: dict[bytes, int] = {}
    enough, failures = threading.Event(), list[LedgerError]()

    def load(sender: Sender) -> None:
        try:
            while not enough.is_set():
                signed, receipt = sender.send(account(1).address, b"load", 30_000)
                acknowledged[signed.hash] = int(receipt["blockNumber"], 16)
        except LedgerError as error:
            failures.append(error)

    threads = [threading.Thread(target=load, args=(sender,)) for sender in senders]
    for thread in threads:
        thread.start()
    known: list[str] = []
    for kill in range(kills):
        while len(acknowledged) < 40 * (kill + 1) and not failures:
            threading.Event().wait(0.005)
        known = hashes(own_devnet.rpc())
        os.kill(own_devnet.pid, signal.SIGKILL)
        own_devnet.restart()
        assert hashes(own_devnet.rpc())[: len(known)] == known
    enough.set()
    for thread in threads:
        thread.join()
    assert failures == []
    rpc = own_devnet.rpc()
    for tx, block in acknowledged.items():
        assert int(rpc.call("eth_getTransactionReceipt", data(tx))["blockNumber"], 16) == block
    counts = [int(rpc.call("eth_getTransactionCount", account(50 + index).address, "latest"), 16) for index in range(4)]
    assert sum(counts) == len(acknowledged)


RUN = """
import sys, time
from pathlib import Path
from ledger.devnet import Devnet
devnet = Devnet.start(Path(sys.argv[1]))
print(devnet.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_anvil_does_not_outlive_a_process_that_was_killed(tmp_path: Path, kill: int) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    os.kill(owner.pid, kill)
    owner.wait()
    owner.stdout.close()
    wait_gone(pid)
    with Devnet.start(tmp_path) as devnet:  # nor does it leave anything locked
        assert devnet.is_running


def test_anvil_does_not_outlive_its_leash(tmp_path: Path) -> None:
    with Devnet.start(tmp_path) as devnet:
        pid = devnet.pid
        os.kill(os.getpgid(pid), signal.SIGKILL)  # the leash leads anvil's process group
        devnet.restart()
        wait_gone(pid)
        assert devnet.is_running


def test_chain_time_moves_on_demand_and_stays_moved(tmp_path: Path) -> None:
    def now(devnet: Devnet) -> int:
        return int(devnet.rpc().call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    with Devnet.start(tmp_path) as devnet:
        before = now(devnet)
        devnet.advance(10_000)
        moved = now(devnet)
        assert moved >= before + 10_000
    with Devnet.start(tmp_path) as devnet:
        devnet.advance(100)
        assert now(devnet) >= moved + 100


@pytest.mark.parametrize("method", ["evm_mine", "anvil_setBalance", "hardhat_reset", "eth_sendTransaction", "eth_sign"])
@pytest.mark.parametrize("address", ["ipc", "url"])
def test_nobody_rewrites_history_through_the_gate(devnet: Devnet, method: str, address: str) -> None:
    with connect(getattr(devnet, address)) as rpc, pytest.raises(RpcRefused, match="does not offer") as caught:
        rpc.call(method)
    assert caught.value.number == -32601


def post(devnet: Devnet, body: bytes, **headers: str) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", int(devnet.url.rpartition(":")[2]))
    connection.request("POST", "/", body, {"Content-Type": "application/json", **headers})
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    return response.status, json.loads(answer)


CALL = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}'


def test_the_port_serves_programs_on_this_machine_and_no_web_page(devnet: Devnet) -> None:
    assert post(devnet, CALL) == (200, {"jsonrpc": "2.0", "id": 1, "result": "0x1267"})
    assert post(devnet, CALL, **{"Content-Type": "text/plain"})[0] == 415  # what a browser sends without asking
    assert post(devnet, CALL, Host="evil.example:80")[0] == 403  # a name that was pointed at this machine
    assert post(devnet, b"", **{"Content-Length": "99999999"})[0] == 413


@pytest.mark.parametrize("body", [b"", b"{", b"7", b'{"id":1}', b'{"id":1,"method":7}', b"\xff"])
def test_what_is_no_request_is_answered_with_an_error(devnet: Devnet, body: bytes) -> None:
    status, answer = post(devnet, body)
    assert (status, answer["error"]["code"] in (-32700, -32600)) == (200, True)


@pytest.mark.parametrize("params", ["[]", "{}", "[7]", "null", '["0x1234"]', '["rubbish"]'])
def test_a_send_of_nothing_is_refused(devnet: Devnet, params: str) -> None:
    body = b'{"id":1,"method":"eth_sendRawTransaction","params":%s}' % params.encode()
    assert "error" in post(devnet, body)[1]


def test_a_batch_is_answered_in_its_order(devnet: Devnet) -> None:
    raws = [data(account(8).sign(4711, nonce, account(1).address, b"", 30_000).raw) for nonce in range(3)]
    batch = [{"id": number, "method": "eth_sendRawTransaction", "params": [raw]} for number, raw in enumerate(raws)]
    answers = post(devnet, json.dumps([*batch, json.loads(CALL), 7]).encode())[1]
    assert [answer["id"] for answer in answers] == [0, 1, 2, 1, None]
    assert all("result" in answer for answer in answers[:4])


def test_a_transaction_that_waits_for_another_nonce_is_mined_after_it_also_over_a_restart(own_devnet: Devnet) -> None:
    rpc, sender = own_devnet.rpc(), account(9)
    first, second, third = (sender.sign(4711, nonce, account(1).address, b"", 30_000) for nonce in range(3))
    assert rpc.call("eth_sendRawTransaction", data(third.raw)) == data(third.hash)
    with pytest.raises(RpcRefused, match="another nonce"):
        rpc.call("eth_sendRawTransactionSync", data(second.raw))
    own_devnet.restart()
    rpc = own_devnet.rpc()
    block = rpc.call("eth_sendRawTransactionSync", data(first.raw))["blockNumber"]
    assert rpc.call("eth_getTransactionReceipt", data(third.hash))["blockNumber"] == block
    before = hashes(rpc)
    own_devnet.restart()
    assert hashes(own_devnet.rpc())[: len(before)] == before


def test_transactions_that_do_not_fit_into_one_block_get_into_the_next(own_devnet: Devnet) -> None:
    """Each loops until it has used 12 million gas up, and a block has 30 million."""
    loop = bytes.fromhex("5b600056")
    rpcs = [own_devnet.rpc() for _ in range(6)]
    raws = [data(account(20 + n).sign(4711, 0, None, loop, 12_000_000).raw) for n in range(6)]
    with ThreadPoolExecutor(6) as pool:
        receipts = list(pool.map(lambda rpc, raw: rpc.call("eth_sendRawTransactionSync", raw), rpcs, raws))
    per_block = Counter(receipt["blockNumber"] for receipt in receipts)
    assert sum(per_block.values()) == 6
    assert max(per_block.values()) <= 2


def test_a_changed_journal_is_noticed(tmp_path: Path) -> None:
    with Devnet.start(tmp_path) as devnet:
        for nonce in range(3):
            send(devnet.rpc(), account(7), nonce)
    journal = tmp_path / "chain.jsonl"
    lines = journal.read_text().splitlines()
    block = next(index for index, line in enumerate(lines) if '"x"' in line)
    journal.write_text("\n".join([*lines[:block], lines[block].replace('"t":', '"t":1'), *lines[block + 1 :]]) + "\n")
    with pytest.raises(JournalInvalid, match="changed"):
        Devnet.start(tmp_path)


def test_a_folder_that_is_in_use_and_a_port_that_is_in_use_are_refused(own_devnet: Devnet, tmp_path: Path) -> None:
    with pytest.raises(DevnetError, match="is running in"):
        Devnet.start(own_devnet.folder)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(DevnetError, match="choose another"):
        Devnet.start(tmp_path / "another", port=taken.getsockname()[1])
    assert own_devnet.is_running


def test_an_anvil_that_ends_at_once_is_quoted(tmp_path: Path) -> None:
    broken = tmp_path / "anvil"
    broken.write_text("#!/bin/sh\necho no such luck >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(DevnetError, match="no such luck"):
        Devnet.start(tmp_path / "chain", anvil=broken)


def test_a_folder_with_a_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    with Devnet.start(folder) as devnet:
        assert len(devnet.ipc) < 110
        assert devnet.rpc().call("eth_chainId") == hex(4711)


def test_a_heartbeat_comes_rarer_the_longer_nothing_happens() -> None:
    assert [beat_after(idle) for idle in (0, 30, 60, 300, 10_000)] == [1, 1, 2, 10, SLOWEST_HEARTBEAT_SECONDS]


# -- finding and installing anvil ------------------------------------------------------------------------------------


def test_anvil_is_taken_from_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "anvil"
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setenv("SWARM_ANVIL", str(program))
    assert find_anvil() == program
    monkeypatch.setenv("SWARM_ANVIL", str(tmp_path / "none"))
    with pytest.raises(AnvilMissing, match="correct it or unset it"):
        find_anvil()


def test_without_anvil_the_line_to_type_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SWARM_ANVIL", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("contracts.__file__", str(tmp_path / "contracts" / "__init__.py"))
    with pytest.raises(AnvilMissing, match="npm install --ignore-scripts") as caught:
        find_anvil()
    assert str(cache_folder()) in str(caught.value)
    wrapper = tmp_path / "anvil"
    wrapper.write_text("#!/usr/bin/env node\n")
    wrapper.chmod(0o755)
    with pytest.raises(AnvilMissing):  # npm's wrapper would outlive us
        find_anvil()
    cached = cache_folder() / "node_modules" / package() / "bin" / "anvil"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"\x7fELF")
    cached.chmod(0o755)
    assert find_anvil() == cached


def fake_npm(tmp_path: Path, integrity: str | None) -> Path:
    """Write an npm that puts a program where anvil belongs, and give its path."""
    npm, modules = tmp_path / "npm", cache_folder() / "node_modules"
    binary = modules / package() / "bin" / "anvil"
    lock = json.dumps({"packages": {f"node_modules/{package()}": {"integrity": integrity}}})
    npm.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nmkdir -p {binary.parent}\n: > {binary}\nchmod +x {binary}\n'
        f"echo '{lock}' > {modules}/.package-lock.json\n"
    )
    npm.chmod(0o755)
    return npm


def pinned() -> str | None:
    lock = json.loads((Path(contracts.__file__).parent / "package-lock.json").read_bytes())
    integrity: str | None = lock["packages"][f"node_modules/{package()}"].get("integrity")
    return integrity


def test_installing_asks_npm_for_the_pinned_package_without_its_scripts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    npm = fake_npm(tmp_path, pinned())
    binary = cache_folder() / "node_modules" / package() / "bin" / "anvil"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert anvil.install() == binary
    asked = (tmp_path / "asked").read_text()
    assert "--ignore-scripts" in asked
    assert f"{package()}@{anvil.VERSION}" in asked
    npm.unlink()
    assert anvil.install() == binary  # it is there


def test_another_package_than_the_pinned_one_is_removed_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if pinned() is None:
        pytest.skip("the lock file pins no package for this machine")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fake_npm(tmp_path, "sha512-other")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(AnvilMissing, match="sha512-other"):
        anvil.install()
    assert not cache_folder().exists()


def test_a_failed_installation_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho registry is away >&2\nexit 7\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(AnvilMissing, match="registry is away"):
        anvil.install()


def test_a_machine_that_anvil_is_not_made_for_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(AnvilMissing, match="riscv64"):
        package()
