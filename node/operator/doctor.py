"""Is this site fit to take part? Each question asked by itself, so that one answer doesn't hide the others."""

import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ledger.state import StudyState
from ledger.types import Address, Status
from node import config as configuration
from node import identity, policy
from node.config import NodeConfig
from node.expected import Expected
from node.operator.desk import Desk, open_desk
from node.operator.peers import Reached, reach
from node.operator.round_estimate import estimate
from node.operator.standing import answer
from node.operator.studies import check_data
from node.site_folder import SiteFolder
from node.specification import specification

T = TypeVar("T")

ENOUGH_DISK = 2 << 30
ENOUGH_MEMORY = 2 << 30
CLOCK_SECONDS = 30
MORE = "; `swarm-node data check` counts everything that doesn't fit"


class Verdict(StrEnum):
    """What a check found."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: its name, its verdict, and what it saw."""

    check: str
    verdict: Verdict
    says: str


def examine(home: Path) -> Iterator[Finding]:
    """Go through all checks; one that needs what another one found wrong is skipped."""
    folder = SiteFolder(home.absolute())
    yield from _machine(folder.home)
    config, finding = _try("configuration", lambda: configuration.load(folder.home))
    yield finding or Finding("configuration", Verdict.OK, f"{folder.config} is valid")
    _, finding = _try("policy", lambda: policy.load(folder.home))
    yield finding or Finding("policy", Verdict.OK, "it can be read, or there is none")
    if config is None:
        yield from _skipped("key", "chain", "membership", "data", "peers", because="without a configuration")
        return
    me, finding = _try("key", lambda: identity.unlock(folder.keystore, config.password_at(folder.home)))
    yield finding or _key(folder)
    with ExitStack() as stack:
        desk, finding = _try("chain", lambda: stack.enter_context(open_desk(home, signing=me is not None)))
        if desk is None:
            yield finding or Finding("chain", Verdict.FAILED, "")
            yield from _skipped("clock", "membership", "data", "peers", because="without the chain")
            return
        yield from _ledger(desk)
        studies = yield from _data(desk)
        reached = yield from _peers(desk, config)
        yield from _rounds(desk, studies, reached)


def summary(findings: list[Finding]) -> dict[str, Any]:
    """The findings, and whether the site is fit."""
    return {
        "fit": all(finding.verdict is not Verdict.FAILED for finding in findings),
        "checks": [asdict(finding) for finding in findings],
    }


def _try(check: str, ask: Callable[[], T]) -> tuple[T | None, Finding | None]:
    try:
        return ask(), None
    except (*Expected, OSError) as error:
        return None, Finding(check, Verdict.FAILED, str(error))


def _skipped(*checks: str, because: str) -> Iterator[Finding]:
    for check in checks:
        yield Finding(check, Verdict.SKIPPED, f"can't be told {because}")


def _machine(home: Path) -> Iterator[Finding]:
    place = next((folder for folder in (home, *home.parents) if folder.is_dir()), Path("/"))
    free = shutil.disk_usage(place).free
    enough = Verdict.OK if free >= ENOUGH_DISK else Verdict.WARNING
    yield Finding("disk", enough, f"{_gib(free)} free for models and updates")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    enough = Verdict.OK if memory >= ENOUGH_MEMORY else Verdict.WARNING
    yield Finding("memory", enough, f"{_gib(memory)}, {os.cpu_count()} processors")
    yield Finding("gpu", Verdict.OK, _gpu() or "none: training runs on the processor")


def _gpu() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    try:
        listed = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "; ".join(line for line in listed.splitlines() if line.startswith("GPU"))


def _key(folder: SiteFolder) -> Finding:
    if stat.S_IMODE(folder.keystore.stat().st_mode) & 0o077:
        return Finding("key", Verdict.WARNING, f"others on this machine may read {folder.keystore}; chmod 600 it")
    return Finding("key", Verdict.OK, f"{identity.address_of(folder.keystore)}, decrypted")


def _ledger(desk: Desk) -> Iterator[Finding]:
    deployment, head = desk.ledger.deployment, desk.ledger.head()
    client = desk.ledger.client_version()
    yield Finding(
        "chain",
        Verdict.OK,
        f"chain {deployment.chain_id}, block {head.number}, {client}; its contracts are ours",
    )
    ahead = head.timestamp - time.time()
    if ahead > CLOCK_SECONDS:
        yield Finding("clock", Verdict.WARNING, f"this machine's clock is {ahead:.0f} s behind the newest block")
    else:
        yield Finding("clock", Verdict.OK, f"the newest block is {-ahead:.0f} s old by this machine's clock")
    member = desk.consortium.members.get(desk.address)
    if member is not None:
        where = ", ".join(member.addresses) or "nothing yet; `swarm-node run` does it"
        yield Finding("membership", Verdict.OK, f"a member as {member.name!r}; published: {where}")
    else:
        yield Finding("membership", Verdict.FAILED, f"{desk.address} is no member; `swarm-node join` asks the others")


def _data(desk: Desk) -> Generator[Finding, None, list[StudyState]]:
    """Hold the data against every open study; gives those that it fits."""
    open_studies = [
        study
        for study in desk.state.studies.values()
        if study.status in (Status.PROPOSED, Status.RUNNING) and answer(study, desk.address) in ("none", "accepted")
    ]
    if not open_studies:
        says = "no study is open" if desk.config.data else "config.toml names none, and no study is open"
        yield Finding("data", Verdict.OK if desk.config.data else Verdict.WARNING, says)
    fitting = []
    for study in open_studies:
        _, finding = _try("data", lambda study=study: check_data(specification(study), desk))  # type: ignore[misc]
        if finding is not None:
            yield Finding("data", Verdict.FAILED, f"study {study.number}: {finding.says}{MORE}")
        else:
            fitting.append(study)
            yield Finding("data", Verdict.OK, f"fits study {study.number}")
    return fitting


def _rounds(desk: Desk, studies: list[StudyState], reached: list[Address]) -> Iterator[Finding]:
    """Say what a round of each study would take."""
    for study in studies:
        name = f"study {study.number}: "
        ask = partial(estimate, desk, study, specification(study), reached)
        found, finding = _try("round", ask)
        if found is None:
            yield finding or Finding("round", Verdict.FAILED, name)
            continue
        yield Finding("round", Verdict.OK, name + found.says)
        if found.late is not None:
            yield Finding("round", Verdict.WARNING, name + found.late)


def _peers(desk: Desk, config: NodeConfig) -> Generator[Finding, None, list[Address]]:
    """Dial every member; gives those that answered."""
    others = {account: member for account, member in desk.consortium.members.items() if account != desk.address}
    if desk.me is None or desk.address not in desk.consortium.members or not others:
        yield from _skipped("peers", because="without a key, a membership and other members")
        return []
    if desk.folder.is_locked():
        yield Finding("peers", Verdict.SKIPPED, "this site's node is running and holds the connections; see its log")
        return []
    reached, finding = _try("port", lambda: reach(desk, config))
    if reached is None:
        yield finding or Finding("port", Verdict.FAILED, "")
        return []
    yield Finding("port", Verdict.OK, f"listens at {', '.join(reached.addresses)}")
    for account, member in others.items():
        yield _peer(member.name, reached, account, bool(member.addresses))
    return list(reached.hellos.keys() & others.keys())


def _peer(name: str, reached: Reached, account: str, published: bool) -> Finding:
    hello = reached.hellos.get(account)
    if hello is not None:
        return Finding("peers", Verdict.OK, f"{name} answers; it runs {hello.software}")
    if not published:
        return Finding("peers", Verdict.WARNING, f"{name} has published no address yet")
    why = reached.faults.get(account, "no answer")
    return Finding("peers", Verdict.WARNING, f"{name} can't be reached: {why}; is its node running?")


def _gib(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB"
