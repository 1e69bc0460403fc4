"""One machine of a lab: its namespace, its address, its clock, and programs that run in it."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any

from tests.wan.lab.links import WITH_PARENT, Shape
from tests.wan.lab.namespaces import entering

CLOCK = Path(__file__).with_name("clock.c")
ROOT = Path(__file__).resolve().parents[3]


def missing() -> str | None:
    """Say why there can be no lab on this machine; None where there can."""
    if sys.platform != "linux":
        return "network namespaces are Linux'"
    if os.geteuid() != 0:
        return "network namespaces need root"
    absent = [program for program in ("ip", "nft", "setpriv", "cc") if shutil.which(program) is None]
    if absent:
        return f"this machine lacks {', '.join(absent)} (Debian: iproute2, nftables, util-linux, gcc)"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "there is no /dev/net/tun here"
    probe = subprocess.run(["unshare", "--net", "nft", "list", "ruleset"], capture_output=True)
    return "this machine allows no network namespaces" if probe.returncode else None


@cache
def wrong_clock() -> Path:
    """Build the library that makes a program's clock wrong; it lasts as long as this process."""
    folder = Path(tempfile.mkdtemp(prefix="swarmlab-clock-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    library = folder / "clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(CLOCK)], check=True)
    return library


@dataclass(slots=True)
class Machine:
    """A machine of a lab: its namespace, its address, and how it is reached."""

    name: str
    namespace: str
    address: str
    shape: Shape | None = None
    router: str | None = None
    clock_ahead: int = 0
    started: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def command(self, *command: str) -> list[str]:
        """A command line that runs in this machine, in a process that ends with the one that starts it."""
        return [*WITH_PARENT, *entering(self.namespace), *self._clock(), *command]

    def environment(self) -> dict[str, str]:
        """What programs of this machine find in their environment."""
        return {**os.environ, "PYTHONPATH": str(ROOT)}

    def _clock(self) -> list[str]:
        """What to put before a command so that its wall clock is wrong; its monotonic clock is not."""
        return ["env", f"LD_PRELOAD={wrong_clock()}", f"CLOCK_AHEAD={self.clock_ahead}"] if self.clock_ahead else []

    def start(
        self, *command: str, stdout: IO[Any] | int | None = None, stderr: IO[Any] | int | None = None
    ) -> "subprocess.Popen[bytes]":
        """Start a program in this machine; it ends with the lab."""
        process = subprocess.Popen(
            self.command(*command), stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=self.environment()
        )
        self.started.append(process)
        return process

    def run(self, *command: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a program in this machine to its end."""
        return subprocess.run(
            self.command(*command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=check,
            env=self.environment(),
        )
