"""Where a site lives on disk."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from node.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class SiteFolder:
    """The paths of a site; `node.config` says what each file holds."""

    home: Path

    @property
    def config(self) -> Path:
        """The configuration."""
        return self.home / "config.toml"

    @property
    def keystore(self) -> Path:
        """The encrypted key."""
        return self.home / "keystore.json"

    @property
    def deployment(self) -> Path:
        """Which chain and contracts."""
        return self.home / "deployment.json"

    @property
    def blobs(self) -> Path:
        """Updates and models by hash."""
        return self.home / "blobs"

    @property
    def logs(self) -> Path:
        """The log files."""
        return self.home / "logs"

    @property
    def api(self) -> Path:
        """The secret and the register of the HTTP interface's tokens."""
        return self.home / "api"

    @property
    def paused(self) -> Path:
        """There while the operator wants the site to take no new work."""
        return self.home / "paused.json"

    @property
    def stop_request(self) -> Path:
        """There from the moment when the operator asks the node to stop until it has."""
        return self.home / ".stop"

    def is_paused(self) -> bool:
        """Whether the site takes no new work; also where the file says nothing that can be read."""
        return self.paused.exists()

    def study(self, number: int) -> Path:
        """What the site remembers of one study."""
        return self.home / "studies" / str(number)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other nodes out of this folder, for as long as this process lives; raises ConfigurationError."""
        try:
            descriptor = os.open(self.home / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigurationError(f"can't write to the site's folder {self.home}: {error.strerror}") from None
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigurationError(f"another node is running in {self.home}; stop it first") from None
            yield
        finally:
            os.close(descriptor)

    def is_locked(self) -> bool:
        """Whether a node is running in this folder."""
        try:
            descriptor = os.open(self.home / ".lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False
