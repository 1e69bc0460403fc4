"""Where a site lives on disk."""

from dataclasses import dataclass
from pathlib import Path


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

    def study(self, number: int) -> Path:
        """What the site remembers of one study."""
        return self.home / "studies" / str(number)
