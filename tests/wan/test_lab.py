"""The lab does to packets what it says, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.wan.lab import Lab, Machine, missing
from tests.wan.lab.namespaces import FOLDER, PREFIX

pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")

PORT = "9000"
PATIENCE = 60.0
GIVE = """
import socket, sys
server = socket.create_server(("0.0.0.0", int(sys.argv[1])))
print("ready", flush=True)
while True:
    client, caller = server.accept()
    client.sendall(caller[0].ljust(16).encode() + bytes(int(sys.argv[2])))
    client.close()
"""
TAKE = """
import socket, sys, time
began = time.monotonic()
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3])) as server:
        met = time.monotonic() - began
        data = b""
        while part := server.recv(1 << 16):
            data += part
    print(data[:16].decode().strip(), len(data) - 16, met, time.monotonic() - began)
except OSError as error:
    print("nothing")
"""


def give(machine: Machine, size: int = 0) -> None:
    """Have a machine give that many bytes to whoever connects."""
    server = machine.start(sys.executable, "-S", "-c", GIVE, PORT, str(size), stdout=subprocess.PIPE)
    assert server.stdout is not None
    with server.stdout:
        assert server.stdout.readline() == b"ready\n"


def take(machine: Machine, of: str, patience: float = PATIENCE) -> list[str]:
    """What a machine gets: the address it was seen at, bytes, seconds until it was connected, seconds in all."""
    return machine.run(sys.executable, "-S", "-c", TAKE, of, PORT, str(patience)).stdout.split()


def taken_in_vain(machine: Machine, of: str) -> bool:
    """Whether a machine gets nothing within a second, which would be long where a way was open."""
    return take(machine, of, 1.0) == ["nothing"]


def test_a_link_delays_limits_and_loses() -> None:
    with Lab() as lab:
        near, far = lab.site("near"), lab.site("far", delay_ms=100, rate_mbit=20, loss=0.05)
        give(far, size=1_000_000)
        seen, size, met, whole = take(near, far.address)
        assert (seen, size) == (near.address, "1000000")
        assert float(met) > 0.1, "there and back, over one half of a way with 100 ms"
        assert float(whole) > 0.1 + 1_000_000 / 2_500_000
        up, _ = lab.counters("far")
        assert up.bytes > 1_000_000
        assert up.lost > 3


def test_cuts_hold_until_they_are_healed_and_each_in_its_direction() -> None:
    with Lab() as lab:
        one, other = lab.site("one"), lab.site("other")
        for machine in (one, other):
            give(machine)
        lab.cut_dialling("one", "other")
        assert taken_in_vain(one, other.address)
        assert take(other, one.address)[0] == other.address
        for cut in (lambda: lab.cut("one", "other"), lambda: lab.cut_one_way("other", "one")):
            cut()
            assert taken_in_vain(one, other.address)
            lab.heal()
            assert take(one, other.address)[0] == one.address
        old, new = other.address, lab.readdress("other")
        assert take(one, new)[0] == one.address
        assert taken_in_vain(one, old)


def test_a_router_lets_out_under_its_own_address_and_nobody_in() -> None:
    with Lab() as lab:
        outside, router = lab.site("outside"), lab.router("router")
        inside = lab.site("inside", behind="router")
        for machine in (outside, inside):
            give(machine)
        assert take(inside, outside.address)[0] == router.address
        assert taken_in_vain(outside, router.address)
        assert taken_in_vain(outside, inside.address)


def test_a_machines_clock_may_be_wrong() -> None:
    with Lab() as lab:
        site = lab.site("late", clock_ahead=-300)
        said = site.run(sys.executable, "-S", "-c", "import time; time.sleep(0.01); print(time.time())").stdout
        assert -400 < float(said) - time.time() < -290


DIE = """
import os, signal
from tests.wan.lab import Lab
with Lab() as lab:
    lab.site("orphan").start("sleep", "1000")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_lab_leaves_nothing_and_clears_away_what_a_dead_one_left() -> None:
    dead = subprocess.Popen([sys.executable, "-c", DIE], env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert dead.wait() == -signal.SIGKILL
    assert list(FOLDER.glob(f"{PREFIX}-{dead.pid}-*"))
    with Lab():
        assert not list(FOLDER.glob(f"{PREFIX}-{dead.pid}-*"))
        assert list(FOLDER.glob(f"{PREFIX}-{os.getpid()}-*"))
    assert not list(FOLDER.glob(f"{PREFIX}-{os.getpid()}-*"))
