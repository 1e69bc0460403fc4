"""Sites' networks at machines of a lab, without a chain: what the ledger would tell them, the test does."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.wan.lab import Lab, Machine

PROGRAM = Path(__file__).with_name("nat_site.py")
PATIENCE = 60.0  # a wait that is longer than any working run's


@dataclass
class NatSite:
    """A site in its machine."""

    process: "subprocess.Popen[str]"
    log: Path
    address: str = ""
    blob: str = ""

    def tell(self, **order: Any) -> Any:
        """Send an order; gives the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self.hear()

    def hear(self) -> Any:
        """The next line that it says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text()[-3000:]
        return json.loads(line)

    def way_to(self, other: "NatSite") -> str:
        """How it is connected to another: "direct", by the address of a relay, or "" where it is not."""
        return str(self.tell(peers=True)[0].get(other.address, ""))

    def addresses(self) -> list[str]:
        """Its multiaddrs now."""
        return list(self.tell(peers=True)[1])

    def pulls(self, blob: str, *sources: "NatSite") -> Any:
        """True where a blob came, else why it didn't."""
        return self.tell(pull=blob, **{"from": [source.address for source in sources]})


class NatRig:
    """The sites of one test; `publish` stands for the ledger."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.sites: list[NatSite] = []
        self._lab = lab
        self._folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> "NatRig":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self, machine: Machine, *, relay: bool = False, size: int = 1 << 20) -> NatSite:
        """Start a site's network at a machine."""
        number = len(self.sites)
        folder = self._folder / machine.name
        folder.mkdir()
        log: IO[Any] = self._stack.enter_context((folder / "log").open("wb"))
        kind = "relay" if relay else "site"
        process = subprocess.Popen(
            machine.command(sys.executable, str(PROGRAM), str(number), str(folder / "blobs"), str(size), kind),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=machine.environment(),
        )
        self._stack.callback(self.stop, process)
        site = NatSite(process, folder / "log")
        site.address, site.blob = site.hear()
        self.sites.append(site)
        return site

    @staticmethod
    def stop(process: "subprocess.Popen[str]") -> None:
        """End a site's process at once."""
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def publish(self) -> None:
        """Tell everybody what everybody's addresses are now."""
        alive = [site for site in self.sites if site.process.poll() is None]
        members = {site.address: [] for site in self.sites} | {site.address: site.addresses() for site in alive}
        for site in alive:
            site.tell(members=members)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Publish what changes until a condition holds."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            logs = "\n".join(f"--- {site.log}\n{site.log.read_text()[-2500:]}" for site in self.sites)
            assert time.monotonic() < deadline, f"never {what}\n{logs}"
            self.publish()
            time.sleep(0.1)
