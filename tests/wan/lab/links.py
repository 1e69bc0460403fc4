"""The links of a lab, worked by a process of their own."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
PROGRAM = Path(__file__).with_name("link_process.py")


@dataclass(frozen=True, slots=True)
class Shape:
    """What a machine's link does to what passes it.

    Delay, jitter and loss are those of the whole way between two machines with links like this one: each link adds
    its half. The rate holds for each direction of the link, with a queue of `queue_ms` in front of it, at whose end
    packets are dropped.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    rate_mbit: float | None = None
    queue_ms: float = 100.0

    def half(self) -> dict[str, float]:
        """What one direction of one link does, in the terms of the process."""
        return {
            "delay": self.delay_ms / 2000,
            "jitter": self.jitter_ms / 2000,
            "loss": 1 - (1 - self.loss) ** 0.5,
            "bytes_per_second": 0.0 if self.rate_mbit is None else self.rate_mbit * 125_000,
            "queue": self.queue_ms / 1000,
        }


@dataclass(frozen=True, slots=True)
class Counters:
    """What has passed a link in one direction, and what hasn't: lost by chance, or dropped at a full queue."""

    packets: int
    bytes: int
    lost: int
    full: int


class Links:
    """The process, spoken to over its standard input and output."""

    def __init__(self, seed: int) -> None:
        command = [*WITH_PARENT, sys.executable, "-S", str(PROGRAM), str(seed)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def add(self, link: str, inner: tuple[str, str], outer: tuple[str, str]) -> None:
        """Make a link between two new devices, each given by its namespace and name."""
        self._ask(do="add", link=link, inner=inner, outer=outer)

    def shape(self, link: str, shape: Shape) -> None:
        """Change what a link does."""
        self._ask(do="shape", link=link, **shape.half())

    def count(self, link: str) -> tuple[Counters, Counters]:
        """What went up a link, and down."""
        answer = self._ask(do="count", link=link)
        return Counters(**answer["up"]), Counters(**answer["down"])

    def cpu_seconds(self, link: str) -> float:
        """What all links together have cost so far, asked by the name of any."""
        return float(self._ask(do="count", link=link)["cpu_seconds"])

    def close(self) -> None:
        """End the process; its devices go with it."""
        self._process.kill()
        self._process.communicate()

    def _ask(self, **order: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process of the links has ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{order}: {answer['error']}")
        return answer
