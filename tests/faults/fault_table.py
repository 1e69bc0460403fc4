"""Each fault in each phase of a round, one after the other in one long study: what came of it, and how soon.

    python -m tests.faults.fault_table [FILE]    # all cells; FILE gets the page with the table

Every cell is one round. The gatekeeper holds the sites until the phase is reached, the fault is injected, the sites
are let go, and the round must become final while the fault is there; then it is healed, and the site must be back.
The first site reaches its Ethereum node over TLS, with credentials.
"""

import json
import os
import re
import resource
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import psutil

from ledger.devnet import Devnet
from ledger.events import RoundExtended, RoundFinalised, RoundRetried, UpdateCommitted
from ledger.types import Fault, Phase, seats_of
from node.demo.cluster import SiteProcess
from node.operator.standing import until, waits_for
from tests.faults.gatekeeper import Gatekeeper
from tests.faults.links import Background, Links, Rule
from tests.faults.swarm_rig import Rig, swarm
from tests.ledger.faulty_endpoint import FaultyEndpoint, RpcFault
from tests.ledger.tls import make_tls

SITES = [f"site-{number}" for number in range(1, 5)]
HELD_SITE = Path(__file__).with_name("held_site.py")
LIMITS = {"collect_seconds": 20, "grace_seconds": 2, "merge_seconds": 4, "review_seconds": 6, "retention_rounds": 2}
SITE_SETTINGS = {"poll_seconds": 0.05, "rpc_seconds": 1.0, "rpc_head_seconds": 5.0}
SECRET = secrets.token_urlsafe()
TRIES = 3
SPARE_ROUNDS = 6


class Moment(Enum):
    """Where in a round a fault strikes."""

    TRAINING = "collecting, in training"
    COMMITTED = "collecting, committed"
    MERGING = "merging"
    REVIEWING = "reviewing"
    LAST = "reviewing, last round"


class Injected(Enum):
    """What strikes a site. In a merge it's the leader's, unless the fault is a follower's."""

    KILLED = "killed"
    LEADER_KILLED = "leader killed"
    FROZEN = "frozen"
    LEADER_FROZEN = "leader frozen"
    INBOUND_CUT = "inbound link cut"
    ALL_CUT = "all links cut"
    SILENT = "all links silent"
    ONE_WAY = "nothing arrives, all leaves"
    SLOW = "300 ms of delay"
    TRANSFER_CUT = "transfers cut in the middle"
    RPC_STALLS = "its RPC stalls"
    RPC_DROPS = "its RPC drops answers"
    RPC_DOWN = "its RPC is down"
    RPC_STALE = "its RPC is stale"
    RPC_SWALLOWS = "its RPC swallows transactions"
    RPC_LIES = "its RPC lies about hashes"
    CHAIN_RESTARTS = "the chain restarts"
    DISK_FULL = "its disk is full"
    TRAINER_KILLED = "its training process killed"


RPC_FAULTS = {
    Injected.RPC_STALLS: RpcFault.STALLS,
    Injected.RPC_DROPS: RpcFault.DROPS,
    Injected.RPC_DOWN: RpcFault.IS_DOWN,
    Injected.RPC_STALE: RpcFault.IS_STALE,
    Injected.RPC_SWALLOWS: RpcFault.SWALLOWS,
    Injected.RPC_LIES: RpcFault.LIES,
}
LINK_FAULTS = {
    Injected.INBOUND_CUT: Rule(refuse_inbound=True),
    Injected.ALL_CUT: Rule(refuse_inbound=True, refuse_outbound=True),
    Injected.SILENT: Rule(silent_to=True, silent_from=True),
    Injected.ONE_WAY: Rule(silent_to=True),
    Injected.SLOW: Rule(delay=0.3),
    Injected.TRANSFER_CUT: Rule(cut_after=6_000),
}
FOLLOWERS = {Injected.KILLED, Injected.FROZEN}
LEADERS = {Injected.LEADER_KILLED, Injected.LEADER_FROZEN}
EVERYWHERE = (Moment.TRAINING, Moment.COMMITTED, Moment.MERGING, Moment.REVIEWING)
Cell = tuple[Injected, Moment]


def all_cells() -> list[Cell]:
    """Every fault in every phase in which it means something; the last round comes last."""
    few = {
        **dict.fromkeys(LEADERS, (Moment.MERGING, Moment.REVIEWING)),
        Injected.TRANSFER_CUT: (Moment.TRAINING, Moment.COMMITTED),
        Injected.TRAINER_KILLED: (Moment.TRAINING,),
    }
    cells = [(fault, moment) for fault in Injected for moment in few.get(fault, EVERYWHERE)]
    return [*cells, (Injected.KILLED, Moment.LAST)]


@dataclass
class Outcome:
    """What came of one cell."""

    fault: Injected
    moment: Moment
    victim: str
    final_after: float
    back_after: float
    ledger: str
    waited_for: str
    said: str


class PipedSite(SiteProcess):
    """A site whose log the test writes down, so that a full disk at the site doesn't silence it."""

    def start(self) -> None:
        command = [*self.command, "--home", str(self.home), "--die-with-parent", *self.options]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )
        threading.Thread(target=self._write_down, args=(self.process,), daemon=True).start()

    def _write_down(self, process: "subprocess.Popen[bytes]") -> None:
        if process.stderr is not None:
            with process.stderr as lines, self.log.open("ab", buffering=0) as log:
                log.writelines(lines)


@dataclass
class Bench:
    """A swarm, and everything that can be done to it."""

    rig: Rig
    gate: Gatekeeper
    links: Links
    endpoints: Mapping[str, FaultyEndpoint]
    outcomes: list[Outcome] = field(default_factory=list)
    _victims: int = 0

    # -- one cell ----------------------------------------------------------------------------------------------------

    def run(self, cell: Cell) -> Outcome:
        """Run a cell in the next round; again, where the round had moved on before the fault struck."""
        for _ in range(TRIES):
            outcome = self._try(*cell)
            if outcome is not None:
                self.outcomes.append(outcome)
                return outcome
        raise AssertionError(f"{cell}: {TRIES} rounds moved on before the fault could strike")

    def _try(self, fault: Injected, moment: Moment) -> Outcome | None:
        number = self.await_all_training()
        began = len(self.rig.events)
        victim = self._reach(fault, moment, number)
        is_there = self.rig.study.round.number == number and self.rig.study.phase is phase_of(moment)
        logs = {site.name: site.log.stat().st_size for site in self.rig.cluster.sites}
        self._inject(fault, victim)
        struck = time.monotonic()
        self.gate.let(trains_to=number)
        waited = self._until_final(number)
        final_after = time.monotonic() - struck
        if must_say(fault, moment):
            self.rig.until(lambda: bool(self._lines(victim, logs)), f"{victim} to say what is wrong")
        self._heal(fault, victim)
        healed = time.monotonic()
        if moment is not Moment.LAST:
            self.await_all_training()
        else:
            self.rig.until(lambda: self._concluded(victim), f"{victim} to have the final model")
        self._check(number, began)
        if not is_there:
            return None
        said = self._said(victim, logs)
        back_after = time.monotonic() - healed
        return Outcome(fault, moment, victim, final_after, back_after, self._on_ledger(number, victim), waited, said)

    def await_all_training(self) -> int:
        """Wait until every site is about to train for one and the same round, and nobody further; gives the round."""

        def ready() -> bool:
            study = self.rig.study
            return (
                bool(study.rounds)
                and study.phase is Phase.COLLECTING
                and (self.gate.who("Train", study.round.number) == set(SITES))
            )

        self.rig.until(ready, "all sites to be about to train")
        return self.rig.study.round.number

    def _reach(self, fault: Injected, moment: Moment, number: int) -> str:
        """Bring the round to that moment, and choose whom the fault strikes."""
        self._victims += 1
        first, second, *others = SITES[self._victims % len(SITES) :] + SITES[: self._victims % len(SITES)]
        match moment:
            case Moment.TRAINING:
                return first
            case Moment.COMMITTED:
                self._let(number, "Commit", others)
                both = {first, second}
                self._until(lambda: {self.rig.name_of(seat) for seat in self.rig.study.round.commits} >= both, number)
                return first
            case Moment.MERGING:
                self._let(number, "Publish", SITES)
                self._until(lambda: self._about_to_publish(number), number)
            case _:
                self._let(number, "Verify", SITES)
                self._until(lambda: self._all_about_to_verify(number), number)
        leads = self.rig.watcher.state.consortium.name_of(self.rig.study.round.leader or "")
        follower = first if leads != first else second
        if fault in FOLLOWERS or (fault not in LEADERS and moment is not Moment.MERGING):
            return follower
        return leads or follower

    def _about_to_publish(self, number: int) -> bool:
        return self.rig.study.phase is Phase.MERGING and bool(self.gate.who("Publish", number))

    def _all_about_to_verify(self, number: int) -> bool:
        """Whether all who committed are, but the leader, who knows what he published."""
        one = self.rig.study.round
        return self.rig.study.phase is Phase.REVIEWING and (
            len(self.gate.who("Verify", number)) >= one.committed.bit_count() - 1
        )

    def _let(self, number: int, held: str, sites: Iterable[str]) -> None:
        self.gate.let(trains_to=number, held=frozenset((site, held) for site in sites))

    def _until(self, reached: Any, number: int) -> None:
        """Wait for a phase; or until the round is over, where the machine was too slow to hold it."""
        self.rig.until(lambda: reached() or self.rig.study.round.number > number, f"the phase in round {number}")

    def _until_final(self, number: int) -> str:
        """Wait until the round is final; gives what it waited for the longest. Each wait has a deadline and reason."""
        waited: Counter[str] = Counter()

        def final() -> bool:
            study = self.rig.study
            if study.round.number > number or study.round.final is not None:
                return True
            sentence, deadline = waits_for(study, self.rig.watcher.state.consortium), until(study)
            assert sentence
            assert deadline is not None
            waited[sentence] += 1
            return False

        self.rig.until(final, f"round {number} to be final")
        ((longest, _),) = waited.most_common(1) or [("nothing", 0)]
        return longest

    # -- faults ------------------------------------------------------------------------------------------------------

    def _inject(self, fault: Injected, victim: str) -> None:
        site = self.rig.site(victim)
        assert site.process is not None
        match fault:
            case Injected.KILLED | Injected.LEADER_KILLED:
                site.process.kill()
                site.process.wait()
            case Injected.FROZEN | Injected.LEADER_FROZEN:
                site.process.send_signal(signal.SIGSTOP)
            case Injected.CHAIN_RESTARTS:
                self.rig.devnet.restart()
            case Injected.DISK_FULL:
                limit_files(site.process.pid, 0)
            case Injected.TRAINER_KILLED:
                for child in psutil.Process(site.process.pid).children():
                    os.kill(child.pid, signal.SIGKILL)
            case _ if fault in RPC_FAULTS:
                self.endpoints[victim].set(RPC_FAULTS[fault])
            case _:
                rule = LINK_FAULTS[fault]
                self.links.set(Rule(**{**vars(rule), "site": victim}))

    def _heal(self, fault: Injected, victim: str) -> None:
        site = self.rig.site(victim)
        assert site.process is not None
        match fault:
            case Injected.KILLED | Injected.LEADER_KILLED:
                site.start()
            case Injected.FROZEN | Injected.LEADER_FROZEN:
                site.process.send_signal(signal.SIGCONT)
            case Injected.DISK_FULL:
                limit_files(site.process.pid, resource.RLIM_INFINITY)
            case Injected.CHAIN_RESTARTS | Injected.TRAINER_KILLED:
                pass  # that passes by itself
            case _ if fault in RPC_FAULTS:
                self.endpoints[victim].set(None)
            case _:
                self.links.set(Rule())

    # -- what came of it ---------------------------------------------------------------------------------------------

    def _check(self, number: int, began: int) -> None:
        """One final model of committed inputs, and one commit of each site in each attempt."""
        events = [event for event in self.rig.events[began:] if getattr(event, "round", None) == number]
        assert sum(isinstance(event, RoundFinalised) for event in events) == 1
        commits = Counter((event.attempt, event.seat) for event in events if isinstance(event, UpdateCommitted))
        assert set(commits.values()) == {1}
        one = self.rig.study.round_numbered(number)
        assert one.final is not None
        assert one.final.merged & ~one.committed == 0
        assert one.final.merged.bit_count() >= self.rig.study.terms.min_sites

    def _on_ledger(self, number: int, victim: str) -> str:
        one = self.rig.study.round_numbered(number)
        merged = self.rig.merged(number)
        committed = {self.rig.name_of(seat) for seat in seats_of(one.committed)}
        parts = [f"{len(merged)} of {len(SITES)} merged"]
        if missing := set(SITES) - merged:
            why = "had not committed" if not missing & committed else "left out as unreachable"
            parts[0] += f" ({' and '.join('the site' if name == victim else name for name in sorted(missing))} {why})"
        for term in one.terms:
            if term.fault is not None:
                name = "the site" if self.rig.name_of(term.seat) == victim else "another"
                why = Fault(term.fault).name.lower().replace("_", " ")
                parts.append(f"term {term.number + 1}, of {name}: {why}")
        events = [event for event in self.rig.events if getattr(event, "round", None) == number]
        parts += ["extended"] if any(isinstance(event, RoundExtended) for event in events) else []
        parts += ["retried"] if any(isinstance(event, RoundRetried) for event in events) else []
        return "; ".join(parts)

    def _said(self, victim: str, logs: Mapping[str, int]) -> str:
        """The first warning or error of the site that was struck since then, else of another one."""
        for name in [victim, *(name for name in SITES if name != victim)]:
            for sentence in self._lines(name, logs):
                return f"{'the site' if name == victim else 'another'}: {tidy(sentence)}"
        return ""

    def _lines(self, name: str, logs: Mapping[str, int]) -> list[str]:
        """What a site's log says of trouble since then; of its chain's node first."""
        records = []
        for line in self.rig.site(name).log.read_bytes()[logs[name] :].splitlines():
            with suppress(ValueError):
                records.append(json.loads(line))
        records.sort(key=lambda record: not str(record.get("event")).startswith("rpc_"))
        told = [record for record in records if record.get("level") in ("warning", "error")]
        sentences = [str(record.get("reason") or record.get("detail") or record.get("event")) for record in told]
        return [sentence for sentence in sentences if sentence not in NOISE]

    def _concluded(self, site: str) -> bool:
        return any((self.rig.site(site).home / "studies").glob("*/result.json"))


NOISE = {"you may not have this blob now", "I don't have it"}
"""What sites say to each other all the time: one has seen a commit and the other has not yet."""


def tidy(sentence: str) -> str:
    """Leave out what differs from run to run."""
    sentence = re.sub(r"0x[0-9a-fA-F]{8,}|\b[0-9a-f]{64}\b", "...", sentence)
    sentence = re.sub(r"127\.0\.0\.1(:|/tcp/)\d+", r"127.0.0.1\1PORT", sentence)
    return sentence.replace("|", "/")[:160]


def phase_of(moment: Moment) -> Phase:
    match moment:
        case Moment.TRAINING | Moment.COMMITTED:
            return Phase.COLLECTING
        case Moment.MERGING:
            return Phase.MERGING
        case _:
            return Phase.REVIEWING


def must_say(fault: Injected, moment: Moment) -> bool:
    """Whether a site must say something about a fault, however little harm it does."""
    if fault is Injected.RPC_SWALLOWS:
        return moment in (Moment.TRAINING, Moment.MERGING)  # else it may have nothing left to send
    return fault in (Injected.RPC_STALLS, Injected.RPC_DROPS, Injected.RPC_DOWN, Injected.RPC_STALE)


def limit_files(pid: int, size: int) -> None:
    """Let a process and its children write files up to this size: with 0, every write fails as on a full disk."""
    for one in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        with suppress(psutil.Error, ProcessLookupError):
            resource.prlimit(one.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


# -- the swarm -------------------------------------------------------------------------------------------------------


@contextmanager
def bench(folder: Path, rounds: int) -> Iterator[Bench]:
    with ExitStack() as stack:
        background = Background()
        stack.callback(background.close)
        endpoints: dict[str, FaultyEndpoint] = {}
        rigs: list[Rig] = []
        tls, credentials = make_tls(folder), folder / "credentials"
        credentials.touch(0o600)
        credentials.write_text(f"Bearer {SECRET}")

        def pid_of(name: str) -> int | None:
            process = rigs[0].site(name).process if rigs else None
            return process.pid if process is not None else None

        links = Links(background, pid_of)
        gate = Gatekeeper(background, folder / "gate")

        def settings(devnet: Devnet) -> Mapping[str, Mapping[str, Any]]:
            made = {}
            for name in SITES:
                guarded = {"tls": tls.server, "wants": f"Bearer {SECRET}"} if name == SITES[0] else {}
                endpoints[name] = stack.enter_context(FaultyEndpoint(devnet.ipc, **guarded))
                one = {"url": endpoints[name].url, "ca_file": str(tls.ca_file), "credentials_file": str(credentials)}
                listen, relay = links.add(name)
                made[name] = {
                    **SITE_SETTINGS,
                    "rpc": [one] if guarded else endpoints[name].url,
                    "listen": f"/ip4/127.0.0.1/tcp/{listen}",
                    "announce": [f"/ip4/127.0.0.1/tcp/{relay}"],
                }
            return made

        rig = stack.enter_context(
            swarm(
                folder,
                rounds=rounds,
                configs=settings,
                command=[sys.executable, str(HELD_SITE), str(gate.path)],
                process=PipedSite,
                **LIMITS,
            )
        )
        rigs.append(rig)
        yield Bench(rig, gate, links, endpoints)


def run(folder: Path, cells: list[Cell], tell: Any = lambda outcome: None) -> list[Outcome]:
    """Run cells in one study; it must end with the model that its inputs imply, at every site."""
    rounds = len(cells) + SPARE_ROUNDS
    with bench(folder, rounds) as made:
        made.gate.let(trains_to=0)
        for cell in cells:
            if cell[1] is Moment.LAST:
                made.await_all_training()
                made.gate.let(trains_to=rounds - 1)
                made.rig.until(lambda: made.rig.study.round.number == rounds, "the last round")
            tell(made.run(cell))
        made.gate.let(trains_to=rounds)
        made.rig.until_finished()
        made.rig.check_models(SITES)
        assert made.endpoints[SITES[0]].authorizations == {f"Bearer {SECRET}"}
        assert not any(SECRET in site.log.read_text() for site in made.rig.cluster.sites)
        return made.outcomes


# -- the table -------------------------------------------------------------------------------------------------------


def as_row(one: Outcome) -> str:
    cells = one.fault.value, one.moment.value, one.ledger, f"{one.final_after:.1f}", f"{one.back_after:.1f}"
    return f"| {' | '.join(cells)} | {one.waited_for} | {one.said or '-'} |"


PAGE = """\
# What faults do to a round

Made by `make faults`: {cells} cells in {minutes:.0f} minutes. Four sites in real processes train one study of {rounds}
rounds; every cell is one of its rounds. A test holds the sites until the phase is reached, lets one fault strike one
site, and lets all go on. The fault stays until the round is final, and is healed then. What is checked in each cell:

* the round became final once, with a model of committed inputs, from `min_sites` (3) at least;
* nobody committed twice in one attempt;
* whatever the round waited for had a deadline on the ledger and a sentence;
* a site whose Ethereum node failed said so in its log;
* the site that was struck was ready for the next round, without a hand on it but that which healed the fault (a killed
  process is started again, as systemd does).

At the end of the study all four sites have the same final model, byte for byte, and it is the one that a computation
without a network makes of the inputs that the ledger names. That would not be so if one round had merged wrongly.

* **s to final**: from the fault to the round's finality, while the fault lasts. The study's limits are 2 s of grace for
  late commits, 4 s to merge and 6 s to review; a round that loses its leader costs one of them, or more on a machine
  as busy as this one was.
* **s until back**: from healing until the site is ready for the next round; 0 where it had been all along.
* **Waits for**: what `swarm-node status` says at any other site, here what it said for the longest.
* **Log**: the first warning or error after the fault; of the site that was struck where it has one.
* Sites commit after the round before is final here, as they do when training takes long.
* A disk is full where each write of a process fails (by a limit on the size of its files).
* "Nothing arrives, all leaves": the others see the site, and it doesn't see them.

{table}
"""


HEAD = """\
| fault | phase | on the ledger | s to final | s until back | waits for | log |
|---|---|---|---|---|---|---|"""


def main() -> None:
    begun = time.monotonic()
    cells = all_cells()
    print(HEAD)
    with tempfile.TemporaryDirectory(prefix="faults") as folder:
        outcomes = run(Path(folder), cells, lambda outcome: print(as_row(outcome), flush=True))
    minutes = (time.monotonic() - begun) / 60
    print(f"{len(outcomes)} cells in {minutes:.1f} minutes")
    if len(sys.argv) > 1:
        table = "\n".join([HEAD, *map(as_row, outcomes)])
        page = PAGE.format(cells=len(outcomes), minutes=minutes, rounds=len(cells) + SPARE_ROUNDS, table=table)
        Path(sys.argv[1]).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
