"""The site processes of a demo: started, watched, restarted as a service manager would, and always stopped."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from node.errors import DemoError

STOP_SECONDS = 10.0
MAX_RESTARTS = 3
TAIL_LINES = 5


@dataclass(slots=True)
class SiteProcess:
    """One site: its folder, its process, and how often it was started again."""

    name: str
    home: Path
    options: Sequence[str] = ()
    command: Sequence[str] = (sys.executable, "-m", "node.cli", "run")
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0

    @property
    def log(self) -> Path:
        """The site's structured log."""
        return self.home / "node.log"

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the site in a process of its own that ends with this one."""
        command = [*self.command, "--home", str(self.home), "--die-with-parent", *self.options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True
            )

    def last_words(self) -> str:
        """The end of the log, for an error message."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-TAIL_LINES:])


@dataclass(slots=True)
class Cluster:
    """All sites of a demo; a context manager that leaves no process behind."""

    sites: list[SiteProcess] = field(default_factory=list)

    def __enter__(self) -> "Cluster":
        for site in self.sites:
            site.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask every site to leave, then make sure."""
        for site in self.sites:
            if site.process is not None and site.running:
                site.process.send_signal(signal.SIGTERM)
        for site in self.sites:
            if site.process is None:
                continue
            try:
                site.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                site.process.kill()
                site.process.wait()

    def dead(self) -> list[SiteProcess]:
        """Sites whose process has ended."""
        return [site for site in self.sites if not site.running]

    def restart(self, site: SiteProcess) -> None:
        """Start a dead site again; raises DemoError where it keeps dying."""
        if site.restarts >= MAX_RESTARTS:
            raise DemoError(f"{site.name} keeps ending; its log {site.log} ends with:\n{site.last_words()}")
        site.restarts += 1
        site.options = ()
        site.start()
