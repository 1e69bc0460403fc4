"""What a demo is asked to do, and what it must remember to be resumed."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from node.errors import DemoError
from node.files import write_atomically

HEART_SITES = ("cleveland", "hungarian", "switzerland", "va")


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """The command's options; `path` is where the data set's files are, `out` where everything is left."""

    sites: int
    rounds: int | None
    seed: int
    source: str
    path: Path | None
    out: Path
    kill_leader: int | None = None
    resume: bool = False

    def data(self, site: int, split: int | None = None) -> dict[str, Any]:
        """The data source of one site, as the training process takes it; `split` is another seed than the demo's."""
        if self.source == "heart-disease":
            chosen = {} if split is None else {"seed": split}
            return {"source": "heart-disease", "path": str(self.path), "center": HEART_SITES[site], **chosen}
        seed = self.seed if split is None else split
        return {"source": self.source, "shard": site, "shards": self.sites, "seed": seed}

    def names(self) -> list[str]:
        """The sites' names."""
        if self.source == "heart-disease":
            return list(HEART_SITES)
        return [f"site-{number}" for number in range(1, self.sites + 1)]


@dataclass(frozen=True, slots=True)
class DemoRecord:
    """What a run leaves in `demo.json`, so that another can go on with it."""

    sites: int
    rounds: int | None
    seed: int
    source: str
    path: str | None
    study: int

    def save(self, out: Path) -> None:
        """Write it into the demo's folder."""
        record = {name: getattr(self, name) for name in self.__slots__}
        write_atomically(out / "demo.json", json.dumps(record, indent=2).encode())

    @classmethod
    def load(cls, out: Path) -> "DemoRecord":
        """Read it back; raises DemoError where there is nothing to resume."""
        try:
            record = json.loads((out / "demo.json").read_bytes())
            return cls(**record)
        except (OSError, ValueError, TypeError):
            raise DemoError(f"{out} holds no demo that was stopped; run without --resume") from None

    def resumed(self, options: DemoOptions) -> DemoOptions:
        """The options of the run that is resumed."""
        path = Path(self.path) if self.path else None
        return DemoOptions(
            self.sites, self.rounds, self.seed, self.source, path, options.out, options.kill_leader, True
        )


def check(options: DemoOptions) -> DemoOptions:
    """Refuse what can't be run, before anything is started; give the options in force."""
    if options.resume:
        return DemoRecord.load(options.out).resumed(options)
    if options.source == "heart-disease":
        if options.path is None:
            raise DemoError(
                "--data heart-disease needs --path DIR with the four processed.*.data files; "
                "`swarm-node data get heart-disease --path DIR` downloads them"
            )
        options = replace(options, sites=len(HEART_SITES), path=options.path.absolute())
    if options.kill_leader is not None and options.rounds is not None and options.kill_leader > options.rounds:
        raise DemoError(f"--kill-leader {options.kill_leader}: there are only {options.rounds} rounds")
    if (options.out / "demo.json").exists():
        raise DemoError(f"{options.out} holds an earlier demo: give --resume to go on with it, or another --out")
    return options
