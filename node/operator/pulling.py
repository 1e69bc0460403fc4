"""Fetching a study's final model by hash, by a network that stands for a moment."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import trio

from ledger.state import StudyState
from ledger.types import Address
from node.errors import OperatorError, StorageError
from node.expected import first_expected
from node.network.errors import BlobUnusable, PullFailed
from node.network.port import Hello
from node.operator.desk import Desk, signer
from node.specification import specification
from node.study_folder import StudyFolder
from node.version import SOFTWARE
from swarm.blobs import BlobStore, damaged_chunks
from swarm.errors import BlobError, BlobInvalid
from swarm.folder_store import FolderStore
from swarm.manifest import layout_elements
from swarm.model_file import export_safetensors, model_hash
from swarm.moments import moments_layout
from swarm.spec import StudySpec

RETRY_SECONDS = 1.0


def pull(desk: Desk, number: int, patience: float) -> dict[str, Any]:
    """Have the model, and what standardises its inputs, whole on this disk; raises OperatorError or StorageError."""
    study = desk.study(number)
    final = study.final_output
    if final is None:
        raise OperatorError(f"study {number} has no final model: it is {study.status.name.lower()}")
    if desk.address not in study.sites:
        raise OperatorError(
            f"this site did not take part in study {number}: its sites give its models to one another only; "
            "one of them can hand you the file, and `swarm-node model verify` says what it is"
        )
    spec = specification(study)
    store = FolderStore(desk.folder.blobs)
    wanted = _wanted(study, spec)
    missing = {blob: size for blob, size in wanted.items() if not _is_whole(store, blob)}
    if missing:
        _fetch(desk, study, store, missing, patience)
    kept = StudyFolder(desk.folder.study(number))
    file = kept.model_path
    try:
        kept.keep_spec(spec.canonical())
        export_safetensors(store, final, file)
        if model_hash(file) != final:
            raise StorageError(f"{file} reads otherwise than it was written: this disk can't be trusted")
    except (BlobError, OSError) as error:
        raise StorageError(f"the model can't be kept on this site's own disk: {error}") from None
    return {"study": number, "model": final.hex(), "file": str(file), "fetched": bool(missing)}


def _wanted(study: StudyState, spec: StudySpec) -> dict[bytes, int]:
    """The blobs to have, and the most bytes that each may have."""
    from swarm.memory_store import MemoryStore
    from swarm.models import write_initial

    layout = write_initial(spec, MemoryStore()).tensors
    wanted = {study.final_output or b"": layout_elements(layout) * np.dtype(np.float32).itemsize}
    moments = study.output_of(0) if spec.data.standardise else None
    if moments is not None:
        wanted[moments] = layout_elements(moments_layout(spec.data.columns)) * np.dtype(np.int64).itemsize
    return wanted


def _is_whole(store: BlobStore, blob: bytes) -> bool:
    """Whether a blob is here, each chunk as its hash says; one that the disk has damaged is let go."""
    if not store.has(blob):
        return False
    try:
        if not damaged_chunks(store, blob):
            return True
    except BlobInvalid:  # its manifest is damaged
        pass
    store.delete(blob)
    return False


def _fetch(desk: Desk, study: StudyState, store: BlobStore, missing: Mapping[bytes, int], patience: float) -> None:
    if desk.folder.is_locked():
        raise OperatorError("this site's node runs, and fetches its studies' models by itself; `swarm-node logs`")
    try:
        with desk.folder.lock():
            trio.run(partial(_pull_all, desk, study, store, missing, patience), strict_exception_groups=True)
    except BaseExceptionGroup as group:
        raise first_expected(group) from None


async def _pull_all(
    desk: Desk, study: StudyState, store: BlobStore, missing: Mapping[bytes, int], patience: float
) -> None:
    from node.network.host import open_network

    deployment = desk.ledger.deployment
    network = open_network(
        signer(desk).key,
        store,
        Hello(deployment.chain_id, deployment.study, SOFTWARE),
        listen=desk.config.listen,
        announce=desk.config.announce,
        may_serve=lambda address, blob: False,
    )
    members = desk.consortium.members
    network.set_members({account: member.addresses for account, member in members.items()})
    sources = [account for account in study.sites if account in members and account != desk.address]
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        for blob, size in missing.items():
            deadline = trio.current_time() + patience
            while True:
                try:
                    await network.pull(blob, sources, max_bytes=size)
                    break
                except (BlobError, OSError) as error:
                    raise StorageError(f"the model can't be kept on this site's own disk: {error}") from None
                except PullFailed as failed:
                    if isinstance(failed, BlobUnusable) or trio.current_time() > deadline:
                        raise OperatorError(f"no site could give it: {_why(desk, failed)}") from None
                await trio.sleep(RETRY_SECONDS)
        nursery.cancel_scope.cancel()


def _why(desk: Desk, failed: PullFailed) -> str:
    """What each source said last, by name."""
    said: dict[Address, str] = {fault.address: f"{fault.kind}: {fault.detail}" for fault in failed.faults}
    named = [f"{desk.consortium.name_of(account)}: {why}" for account, why in said.items()]
    return "; ".join(named) or str(failed)
