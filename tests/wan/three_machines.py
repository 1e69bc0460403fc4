"""Three hospitals' operators from nothing to a finished study, and one more who joins in round 3, as they type it.

    python -m tests.wan.three_machines

types each command on its machine (a network namespace with an address and a link of its own) and writes what came of
it to docs/three-machines.md. It needs root.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ledger.client import Ledger
from ledger.deployment import Deployment
from ledger.rpc import connect
from ledger.state import LedgerState, StudyState
from ledger.stream import EventStream
from node.site_folder import SiteFolder
from node.study_folder import StudyFolder
from swarm.model_file import model_hash
from tests.wan.lab import CHAIN_URL, Lab, Machine, missing

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "three-machines.md"
FOUNDERS = ("Lübeck", "Kiel", "Ulm")
LATE = "Jena"
SITES = (*FOUNDERS, LATE)
ROUNDS = 8
PATIENCE = 300.0
SHOWN = ("site_started", "caught_up", "committed", "attested_and_committed", "published", "study_finished")
LINK = {"delay_ms": 20, "loss": 0.001, "rate_mbit": 50}
WIDTH = "108"
EDITS = {
    "rounds = 12": f"rounds = {ROUNDS}",
    "collect_seconds = 120": "collect_seconds = 1800\nleast_seconds = 1800",  # a site's power will fail; they wait
    "grace_seconds = 2": "grace_seconds = 60",
    "merge_seconds = 15": "merge_seconds = 600",
    "review_seconds = 15": "review_seconds = 600",
}


@dataclass
class Desk:
    """An operator at a machine: a folder, what was typed there, and the node that runs."""

    name: str
    machine: Machine
    folder: Path
    node: "subprocess.Popen[bytes] | None" = None

    def log(self) -> list[dict[str, object]]:
        """What the node has logged so far."""
        lines = (self.folder / "run.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


@dataclass
class Walk:
    """The transcript as it grows, and what a test asks about it."""

    folder: Path
    desks: dict[str, Desk]
    lines: list[str] = field(default_factory=list)
    typed: Counter[str] = field(default_factory=Counter)
    first_round: dict[str, int] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    study: StudyState | None = None
    begun: float = field(default_factory=time.monotonic)

    def say(self, *paragraph: str) -> None:
        """Add a paragraph, or a heading."""
        self.lines += [*textwrap.wrap(" ".join(paragraph), 120, break_on_hyphens=False), ""]

    def type(self, name: str, *arguments: str, show: slice | None = None) -> str:
        """Type a `swarm-node` command at a machine, and give what it prints; `show` is the part that is worth it."""
        desk = self.desks[name]
        prompt = self._prompt(desk, arguments)
        command = _program(*arguments, home=desk.folder, machine=desk.machine)
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if done.returncode:
            raise RuntimeError(f"{prompt}\n{done.stdout}")
        printed = self._tidy(done.stdout, desk).splitlines()
        shown = printed if show is None else printed[show]
        cut = ["..."] if len(shown) < len(printed) else []
        self._block([prompt, *shown, *cut])
        return done.stdout

    def run(self, name: str, *options: str) -> None:
        """Type `swarm-node run`, which stays."""
        desk = self.desks[name]
        prompt = self._prompt(desk, ("run", *options))
        with (desk.folder / "run.log").open("ab") as log:
            command = _program("run", *options, "--die-with-parent", home=desk.folder, machine=desk.machine)
            desk.node = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
        desk.machine.started.append(desk.node)
        self._block([prompt])

    def show_log(self, name: str, events: Sequence[str], count: int) -> None:
        """Add some of what a node has logged: the first line of each of these events, and the last one."""
        lines = [line for line in self.desks[name].log() if line["event"] in events]
        self._block([_in_short(line) for line in (*lines[: count - 1], lines[-1])])

    def note(self, *lines: str) -> None:
        """Add lines that are no `swarm-node` command."""
        self._block(list(lines))

    def _prompt(self, desk: Desk, arguments: Sequence[str]) -> str:
        self.typed[desk.name] += 1
        seconds = int(time.monotonic() - self.begun)
        return f"[{seconds // 60}:{seconds % 60:02d}] {desk.name}$ swarm-node {' '.join(map(_quoted, arguments))}"

    def _tidy(self, text: str, desk: Desk) -> str:
        """Without what belongs to this machine and not to that one."""
        return text.replace(str(desk.folder), "~").rstrip()

    def _block(self, lines: Sequence[str]) -> None:
        self.lines += [f"    {line}".rstrip() for line in lines] + [""]


def walk(folder: Path) -> Walk:
    """Go the whole path in a folder that is there."""
    with Lab() as lab:
        desks = {name: _desk(lab, folder, number, name) for number, name in enumerate(SITES)}
        walk = Walk(folder, desks)
        socket = lab.start_chain(folder / "chain")
        _begin(walk, lab)
        deployment = _found(walk)
        with _reading(socket, Deployment.load(deployment)) as stream:
            follow = Follower(walk, stream)
            spec = _agree(walk)
            _start(walk, follow)
            _join_late(walk, follow.study().round.number, deployment, spec)
            _finish(walk, follow)
        return walk


class Follower:
    """What the ledger says, read beside the chain and not over a link."""

    def __init__(self, walk: Walk, stream: EventStream) -> None:
        self._walk = walk
        self._stream = stream
        self.state = LedgerState()

    def study(self) -> StudyState:
        self.state = self.state.fold(self._stream.poll())
        return self.state.studies[1]

    def name_of(self, seat: int) -> str:
        return self.state.consortium.name_of(self.state.studies[1].participant_at(seat).account)

    def until_dead(self, name: str) -> None:
        """Wait until a node has ended by itself."""
        node = self._walk.desks[name].node
        assert node is not None
        node.wait(PATIENCE)

    def until_done(self, names: Sequence[str]) -> None:
        """Wait until these nodes have the final model."""
        deadline = time.monotonic() + PATIENCE
        while not all(any(line["event"] == "study_finished" for line in self._walk.desks[one].log()) for one in names):
            if time.monotonic() > deadline:
                raise RuntimeError(f"waited {PATIENCE:.0f} s for the end of the study")
            time.sleep(0.1)


# -- the chapters


def _begin(walk: Walk, lab: Lab) -> None:
    addresses = ", ".join(f"{desk.name} {desk.machine.address}" for desk in walk.desks.values())
    walk.say("# Three machines, from nothing to a finished study")
    walk.say(
        f"Written by `python -m tests.wan.three_machines`, which typed every command below. {len(SITES)} machines,",
        f"each a network namespace with its own address: {addresses}; between each two {LINK['delay_ms']} ms each way,",
        f"{LINK['loss']:.1%} of the segments lost, {LINK['rate_mbit']} Mbit/s. Each has a file `patients.csv` with its",
        "own patients, `SWARM_HOME=site` in its shell, and swarm-node installed. Times are minutes and seconds since",
        "the first command; all of it ran on one computer with two cores. Answers that a person would be asked",
        "for are given as options; `...` stands for what was left out.",
    )
    walk.say(
        f"A fifth machine runs a development chain behind a gateway at {CHAIN_URL}; a consortium has one of its own",
        "(see the README), and each hospital its own node of it.",
    )
    walk.note("chain$ swarm-node devnet start --dir chain")
    assert lab.chain.address in CHAIN_URL


def _found(walk: Walk) -> Path:
    walk.say("## A consortium of three")
    walk.say("Each hospital makes a key and a configuration.")
    accounts = {name: _init(walk, name) for name in FOUNDERS}
    first, *others = FOUNDERS
    walk.say(f"{first} founds the consortium with the accounts that the others have told it.")
    walk.type(first, "found", *(part for name in others for part in ("--founder", f"{name}={accounts[name]}")))
    deployment = walk.desks[first].folder / "site" / "deployment.json"
    walk.say("It sends the others its `deployment.json`, which holds no secret.")
    for name in others:
        _hand_over(deployment, walk.desks[name])
        walk.type(name, "join", "--deployment", "deployment.json")
    return deployment


def _agree(walk: Walk) -> str:
    first = FOUNDERS[0]
    walk.say("## A study")
    walk.say(f"{first} takes a study that comes with the program, makes it its own, and proposes it.")
    walk.type(first, "study", "new", "mine.toml")
    _edit(walk.desks[first].folder / "mine.toml")
    walk.note(f"{first}$ edit mine.toml", *(f"    {line}" for after in EDITS.values() for line in after.splitlines()))
    proposed = walk.type(first, "study", "propose", "mine.toml", "--yes", show=slice(-2, None))
    spec = re.search(r"specification ([0-9a-f]{64})", proposed)
    assert spec is not None
    walk.say("The others read what it would do with their data, and each accepts that very specification.")
    walk.type("Kiel", "study", "inspect", "1", show=slice(0, 24))
    for name in FOUNDERS:
        walk.type(name, "study", "accept", "1", "--spec", spec[1][:8], show=slice(0, 3))
    return spec[1]


def _start(walk: Walk, follow: Follower) -> None:
    walk.say("## The first rounds")
    walk.say("The nodes run. So that there is something to see, Ulm's power fails after its third commit.")
    walk.run("Lübeck")
    walk.run("Kiel")
    walk.run("Ulm", "--die-at", "after-commit@3")
    follow.until_dead("Ulm")
    walk.show_log("Lübeck", SHOWN, 5)
    walk.type("Kiel", "status")


def _join_late(walk: Walk, number: int, deployment: Path, spec: str) -> None:
    walk.say(f"## {LATE} joins in round {number}")
    walk.say("Meanwhile a fourth hospital applies; the members vote.")
    _init(walk, LATE)
    _hand_over(deployment, walk.desks[LATE])
    walk.type(LATE, "join", "--deployment", "deployment.json", "--no-wait")
    for name in FOUNDERS:
        walk.type(name, "vote", "1", "--approve")
    walk.type(LATE, "doctor")
    walk.type(LATE, "study", "accept", "1", "--spec", spec[:8], show=slice(0, 4))
    walk.run(LATE)
    walk.say("Ulm's power is back. Its node finds its place by its disk and the ledger.")
    walk.run("Ulm")


def _finish(walk: Walk, follow: Follower) -> None:
    follow.until_done(SITES)
    walk.show_log(LATE, SHOWN, 4)
    walk.say("## The model")
    walk.type(LATE, "status")
    walk.type(LATE, "model", "export", "1")
    walk.type("Kiel", "model", "verify", "site/studies/1/model.safetensors")
    for name in SITES:
        folder = StudyFolder(SiteFolder(walk.desks[name].folder / "site").study(1))
        walk.models[name] = model_hash(folder.model_path).hex()
    walk.study = follow.study()
    for one in walk.study.rounds:
        for seat in range(len(walk.study.sites)):
            if one.final is not None and one.final.merged >> seat & 1:
                walk.first_round.setdefault(follow.name_of(seat), one.number)
    _conclude(walk)


def _conclude(walk: Walk) -> None:
    walk.say("## Counted")
    walk.lines += ["| hospital | commands typed | needed to take part | takes part from round | final model |"]
    walk.lines += ["|---|---|---|---|---|"]
    for name in SITES:
        walk.lines.append(
            f"| {name} | {walk.typed[name]} | {_to_take_part(name)} | {walk.first_round[name]} "
            f"| `{walk.models[name][:16]}` |"
        )
    walk.lines.append("")


def _to_take_part(name: str) -> str:
    """The commands without which a hospital would not have taken part."""
    if name == FOUNDERS[0]:
        return "6: init, found, study new, study propose, study accept, run"
    return "4: init, join, study accept, run"


# -- what is no command


def _desk(lab: Lab, folder: Path, number: int, name: str) -> Desk:
    home = folder / name
    home.mkdir()
    _write_patients(home / "patients.csv", number)
    return Desk(name, lab.site(f"machine-{number}", **LINK), home)


def _write_patients(file: Path, number: int) -> None:
    """A quarter of the breast-cancer patients, as a hospital would have them in a file."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    lines = [",".join([*bunch.feature_names, "diagnosis"])]
    for row, label in list(zip(bunch.data.tolist(), bunch.target.tolist(), strict=True))[number :: len(SITES)]:
        lines.append(",".join([*map(repr, row), ("malignant", "benign")[label]]))
    file.write_text("\n".join(lines) + "\n")


def _init(walk: Walk, name: str) -> str:
    printed = walk.type(
        name,
        *("init", "--name", name, "--rpc", CHAIN_URL, "--listen", "/ip4/0.0.0.0/tcp/4001"),
        *("--data", "patients.csv", "--generate-password", "--dev"),
    )
    account = re.search(r"0x[0-9A-Fa-f]{40}", printed)
    assert account is not None
    return account[0]


def _hand_over(deployment: Path, desk: Desk) -> None:
    shutil.copy(deployment, desk.folder / "deployment.json")


def _edit(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    for before, after in EDITS.items():
        assert before in text
        text = text.replace(before, after)
    file.write_text(text, encoding="utf-8")


def _program(*arguments: str, home: Path, machine: Machine) -> list[str]:
    settings = ["env", f"--chdir={home}", "SWARM_HOME=site", f"COLUMNS={WIDTH}", f"PYTHONPATH={DOCUMENT.parents[1]}"]
    return machine.command(*settings, sys.executable, "-m", "node.cli", *arguments)


def _quoted(argument: str) -> str:
    return f'"{argument}"' if " " in argument else argument


def _in_short(line: dict[str, object]) -> str:
    """A log line as a person would tell it."""
    hidden = ("event", "level", "site", "study", "tx", "gas", "evaluation", "spec", "attempt", "address", "addresses")
    told = " ".join(f"{name}={_short(value)}" for name, value in line.items() if name not in (*hidden, "timestamp"))
    return f"{str(line['timestamp'])[11:19]} {line['event']} {told}".rstrip()


def prompts(lines: Sequence[str]) -> list[str]:
    """The commands of a transcript, without times, accounts and hashes."""
    typed = (re.search(r"\] (\S+\$ swarm-node .*)", line) for line in lines)
    return [re.sub(r"\b(0x)?[0-9a-fA-F]{8,}\b", "...", one[1]) for one in typed if one is not None]


def _short(value: object) -> str:
    return f"{value[:16]}..." if isinstance(value, str) and len(value) == 64 else str(value)


@contextmanager
def _reading(socket: str, deployment: Deployment) -> Iterator[EventStream]:
    with closing(connect(f"ipc://{socket}")) as rpc:
        yield EventStream(Ledger(rpc, deployment))


def main() -> None:
    if (why := missing()) is not None:
        sys.exit(why)
    with tempfile.TemporaryDirectory() as folder:
        DOCUMENT.write_text("\n".join(walk(Path(folder)).lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
