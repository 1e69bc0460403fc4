"""Network namespaces by name: made, configured, searched for what runs in them, and removed.

A name says which process made it (its id and start time), so that a later lab can remove what a dead one left.
"""

import os
import signal
import subprocess
import time
from pathlib import Path

FOLDER = Path("/run/netns")
PREFIX = "swarmlab"
GONE_SECONDS = 5.0

_BEGINNING = """
ip link set lo up
cd /proc/sys/net
echo 1 >ipv4/ip_forward
for one in all default; do if [ -d ipv6 ]; then echo 1 >ipv6/conf/$one/disable_ipv6; fi; done
"""


def names_of_this_process() -> str:
    """The beginning of the names of every namespace of this process."""
    return f"{PREFIX}-{os.getpid()}-{_started(os.getpid())}-"


def add(name: str, congestion: str) -> None:
    """Make a namespace whose loopback is up, which forwards, and which speaks IPv4 alone, with that kind of TCP."""
    ip("netns", "add", name)
    run_in(name, "sh", "-ec", f"{_BEGINNING}\necho {congestion} >ipv4/tcp_congestion_control")


def remove(name: str) -> None:
    """Kill what runs in a namespace, and remove it."""
    deadline = time.monotonic() + GONE_SECONDS
    while pids := pids_in(name):
        for pid in pids:
            _kill(pid)
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes {pids} in {name} don't die")
        time.sleep(0.01)
    ip("netns", "delete", name)


def pids_in(name: str) -> list[int]:
    """The processes in a namespace."""
    return [int(pid) for pid in ip("netns", "pids", name).split()]


def remove_stale() -> None:
    """Remove the namespaces of labs whose process has ended."""
    for path in FOLDER.glob(f"{PREFIX}-*") if FOLDER.is_dir() else ():
        _, pid, started, *_ = path.name.split("-")
        if _started(int(pid)) != started:
            remove(path.name)


def ip(*arguments: str) -> str:
    """Run `ip`; gives what it prints."""
    return _run("ip", *arguments)


def run_in(name: str, *command: str, text: str | None = None) -> str:
    """Run a command in a namespace to its end; gives what it prints."""
    return _run(*entering(name), *command, text=text)


def entering(name: str) -> tuple[str, ...]:
    """What to put before a command so that it runs in a namespace; its process stays the same."""
    return "ip", "netns", "exec", name


def _run(*command: str, text: str | None = None) -> str:
    done = subprocess.run(command, input=text or "", capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _started(pid: int) -> str:
    """When a process began, in the kernel's ticks; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except FileNotFoundError:
        return ""


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
