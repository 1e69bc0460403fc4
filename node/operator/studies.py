"""Proposing studies, reading what others propose, and answering."""

import threading
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trio

from ledger.errors import RpcUnreachable
from ledger.state import StudyState
from ledger.types import Status, Terms
from node import policy
from node.errors import OperatorError, StudyRefused
from node.operator.desk import Desk, open_desk, signer
from node.operator.inspection import differences, in_words
from node.operator.standing import standing
from node.pausing import paused
from node.reveals import RevealChain, chain_length
from node.specification import specification
from node.trainer import hold_against
from node.trainers import trainer_of
from swarm import studies as built_in
from swarm.spec import MAX_SPEC_BYTES, StudySpec

POLL_SECONDS = 1.0
MIN_HASH_DIGITS = 8
"""Of a specification's hash, as an operator may shorten it."""


def new_file(path: Path, template: str) -> dict[str, Any]:
    """Write a built-in study's TOML as the beginning of one's own; never over an existing file."""
    text = built_in.text(template)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise OperatorError(f"{path} exists; choose another name") from None
    except OSError as error:
        raise OperatorError(f"can't write {path}: {error.strerror}") from None
    return {"file": str(path), "template": template}


def read_file(path: Path) -> StudySpec:
    """Read a study's TOML; raises SpecificationError naming each wrong field, and OperatorError."""
    try:
        if path.stat().st_size > 4 * MAX_SPEC_BYTES:
            raise OperatorError(f"{path} is larger than a specification can be")
        return StudySpec.from_toml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OperatorError(f"can't read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise OperatorError(f"{path} is not a text file") from None


def find(home: Path, name: str) -> StudySpec:
    """A study by its number on the ledger, or by its file; raises OperatorError, SpecificationError or StudyRefused."""
    if not name.isdecimal():
        return read_file(Path(name))
    with open_desk(home, signing=False) as desk:
        return specification(desk.study(int(name)))


def propose(desk: Desk, draft: StudySpec) -> dict[str, Any]:
    """Give a draft its initial model and put it on the ledger, for every member to answer."""
    spec = draft if draft.model.initial else draft.with_initial(initial_model(draft))
    number, receipt = desk.ledger.propose(spec.canonical(), Terms(**asdict(spec.terms())))
    return {
        "study": number,
        "name": spec.study.name,
        "spec_hash": spec.hash.hex(),
        "answer_within_seconds": spec.round.accept_seconds,
        "transaction": receipt.tx.hex(),
    }


def listing(desk: Desk) -> dict[str, Any]:
    """Every study on the ledger, where it stands, and what this site said to it."""
    return {"studies": [standing(desk, study) for study in desk.state.studies.values()]}


def this_site(desk: Desk) -> dict[str, Any]:
    """This site, its node and its chain."""
    return {
        "name": desk.config.name,
        "address": desk.address,
        "member": desk.address in desk.consortium.members,
        "node_running": desk.folder.is_locked(),
        "paused": paused(desk.folder),
        "chain": {"id": desk.ledger.deployment.chain_id, "block": desk.stream.cursor.block},
    }


def overview(desk: Desk) -> dict[str, Any]:
    """This site, its node, its chain, and where every study stands."""
    return {**this_site(desk), **listing(desk)}


def inspect(desk: Desk, number: int) -> dict[str, Any]:
    """What a study would do here, whether the policy allows it, and what changed since the version agreed to last."""
    study = desk.study(number)
    spec = specification(study)
    before = last_accepted(desk, spec.study.name, number)
    return {
        **standing(desk, study),
        **described(spec, desk.folder.home),
        "agreed_before": before.number if before is not None else None,
        "differences": [
            {"field": field, "before": old, "after": new}
            for field, old, new in (differences(specification(before), spec) if before is not None else ())
        ],
    }


def described(spec: StudySpec, home: Path) -> dict[str, Any]:
    """A specification in words, and the rules of the site's policy that it breaks."""
    return {
        "name": spec.study.name,
        "in_words": [{"about": about, "says": says} for about, says in in_words(spec)],
        "policy": [{"rule": breach.rule, "says": breach.says} for breach in policy.breaches(policy.load(home), spec)],
    }


def accept(desk: Desk, number: int, agreed: str) -> dict[str, Any]:
    """Accept the study whose specification hash the operator agreed to, once data and policy allow it.

    Raises StudyRefused naming each rule that it breaks, or what doesn't fit in the data.
    """
    study = desk.study(number)
    if len(agreed) < MIN_HASH_DIGITS or not study.spec_hash.hex().startswith(agreed.lower()):
        raise OperatorError(f"study {number} has the specification {study.spec_hash.hex()}, not {agreed!r}")
    spec = specification(study)
    policy.refuse_breaches(policy.load(desk.folder.home), spec)
    check_data(spec, desk)
    deployment = desk.ledger.deployment
    reveals = RevealChain(
        signer(desk).key, deployment.chain_id, deployment.study, number, chain_length(spec.training.rounds)
    )
    receipt = desk.ledger.accept(number, spec.hash, reveals.tip)
    desk.catch_up()
    return {**standing(desk, desk.study(number)), "transaction": receipt.tx.hex()}


def decline(desk: Desk, number: int) -> dict[str, Any]:
    """Decline a study, on record."""
    study = desk.study(number)
    receipt = desk.ledger.decline(number, study.spec_hash)
    desk.catch_up()
    return {**standing(desk, desk.study(number)), "transaction": receipt.tx.hex()}


def await_end(desk: Desk, number: int) -> None:
    """Wait until a study is finished or aborted, however long that takes."""
    pause = threading.Event()  # never set: its wait is what Ctrl-C interrupts
    while desk.study(number).status in (Status.PROPOSED, Status.RUNNING):
        pause.wait(min(POLL_SECONDS, desk.config.poll_seconds * 4))
        with suppress(RpcUnreachable):  # the chain is being restarted, say
            desk.catch_up()


def last_accepted(desk: Desk, name: str, before: int) -> StudyState | None:
    """The newest study of that name that this site accepted before another one."""
    for number, study in sorted(desk.state.studies.items(), reverse=True):
        if number < before and desk.address in study.sites and _name(study) == name:
            return study
    return None


def initial_model(spec: StudySpec) -> bytes:
    """The hash of a study's first weights, which follow from its seed."""
    from swarm.memory_store import MemoryStore
    from swarm.models import write_initial

    return write_initial(spec, MemoryStore()).blob


def check_data(spec: StudySpec, desk: Desk) -> None:
    """Hold local data and the first model against a study, in its own process; raises StudyRefused or WorkerError.

    The data of a custom model is its training loop's own business: only the first model is looked at.
    """
    if not (desk.config.data or spec.model.custom):
        raise OperatorError("config.toml names no data: set [data] to what this site trains on")

    async def check() -> None:
        trainer = trainer_of(spec, folder, desk.config, desk.folder.home, blobs)
        try:
            await hold_against(spec, trainer)
        finally:
            await trainer.close()

    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "spec.json").write_bytes(spec.canonical())
        blobs = desk.folder.blobs if spec.model.custom else folder / "blobs"
        trio.run(check)


def _name(study: StudyState) -> str | None:
    try:
        return specification(study).study.name
    except StudyRefused:
        return None
