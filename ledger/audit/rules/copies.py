"""Updates that are too much alike: another site's, an older one again, or one of these with a little noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb, sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ledger.audit.record import Record
from ledger.audit.verdict import Rule, Tally
from ledger.state import Commit
from ledger.types import Address
from swarm.blobs import BlobStore
from swarm.errors import SwarmError
from swarm.manifest import BlobKind, Manifest

NEAR_COPY: Final = 0.9999
"""Cosine from which two updates count as one: an angle of 0.8 degrees.

Rounding to the study's scale turns an update by far less, so that a copy is above it whatever factor it was scaled by,
and so is one with noise of up to 1.4 % of its norm. Updates that sites trained apart stay below it: their angle is made
by the sampling of their patients, and would shrink to this only with some million of them at each site. Over whole
studies of the built-in data with 2, 4 and 8 sites the highest cosine of a pair was .982.
"""
FEWEST_NONZERO: Final = 8
"""Numbers other than zero that two updates must have before their angle says anything."""
_BLOCK: Final = 1 << 16
_DTYPES: Final = ("int16", "int32")


def judge(record: Record) -> Tally:
    """Compare every update with the others of its round, and with all that were committed before."""
    tally, study = Tally(), record.subject
    seen: dict[bytes, tuple[Address, int]] = {}
    unseen, highest = 0, -1.0
    for one in study.rounds if study is not None else ():
        commits = list({commit.site: commit for commit in one.all_commits()}.values()) if one.number else []
        for commit in commits:
            _against_older(tally, record, one.number, commit, seen)
        for commit in commits:
            seen.setdefault(commit.commitment.blob, (commit.site, one.number))
        _same_bytes(tally, record, one.number, commits)
        here = _Alike.of(record.store, commits)
        highest = max(highest, _near(tally, record, one.number, here))
        unseen += comb(len(commits), 2) - comb(len(here.commits), 2)
    if unseen:
        tally.leave_open(f"of {unseen} pairs of updates at least one isn't at hand: only their hashes were compared")
    if highest > -1:
        tally.figures["highest cosine"] = round(highest, 6)
    tally.said = f"{tally.figures.get('compared', 0)} pairs of updates: none is another's copy"
    return tally


def _against_older(
    tally: Tally, record: Record, number: int, commit: Commit, seen: dict[bytes, tuple[Address, int]]
) -> None:
    before = seen.get(commit.commitment.blob)
    known = before is not None and not _is_zero(record.store, commit.commitment.blob)
    what = f"its update is the one that {record.name(before[0])} committed in round {before[1]}" if before else ""
    tally.check(not known, what, **_place(number, commit))


def _same_bytes(tally: Tally, record: Record, number: int, commits: Sequence[Commit]) -> None:
    for first, second in combinations(commits, 2):
        same = first.commitment.blob == second.commitment.blob
        if same and not _is_zero(record.store, first.commitment.blob):
            what = f"its update is {record.name(first.site)}'s, byte for byte"
            tally.check(False, what, **_place(number, second))


def _near(tally: Tally, record: Record, number: int, here: "_Alike") -> float:
    """Judge the angles of one round's updates; gives the highest cosine."""
    highest = -1.0
    for (left, first), (right, second) in combinations(enumerate(here.commits), 2):
        same = first.commitment.blob == second.commitment.blob
        if same or min(here.nonzero[left], here.nonzero[right]) < FEWEST_NONZERO:
            continue
        cosine = here.cosine(left, right)
        highest = max(highest, cosine)
        tally.figures["compared"] = tally.figures.get("compared", 0) + 1
        what = f"its update is {record.name(first.site)}'s but for its size or a little noise: cosine {cosine:.6f}"
        tally.check(cosine < NEAR_COPY, what, **_place(number, second))
    return highest


def _place(number: int, commit: Commit) -> dict[str, Any]:
    return {"round": number, "site": commit.site, "block": commit.at.block}


@dataclass(frozen=True, slots=True)
class _Alike:
    """The updates of one round that are at hand, and their products with each other: exact enough in float64."""

    commits: tuple[Commit, ...]
    products: NDArray[np.float64]
    nonzero: NDArray[np.int64]

    @classmethod
    def of(cls, store: BlobStore, commits: Sequence[Commit]) -> "_Alike":
        """Read the updates block by block, so that memory doesn't grow with the model."""
        found = [(commit, manifest) for commit in commits if (manifest := _update(store, commit.commitment.blob))]
        shape = found[0][1] if found else None
        alike = [commit for commit, one in found if shape is not None and _shape(one) == _shape(shape)]
        products, nonzero = np.zeros((len(alike), len(alike))), np.zeros(len(alike), np.int64)
        for index in range(len(shape.chunks) if shape is not None else 0):
            chunks = [_integers(store, commit.commitment.blob, index) for commit in alike]
            for start in range(0, chunks[0].size, _BLOCK):
                block = np.stack([chunk[start : start + _BLOCK] for chunk in chunks]).astype(np.float64)
                products += block @ block.T
                nonzero += np.count_nonzero(block, axis=1)
        return cls(tuple(alike), products, nonzero)

    def cosine(self, left: int, right: int) -> float:
        """The cosine of the angle between two updates that aren't zero."""
        norms = sqrt(self.products[left, left]) * sqrt(self.products[right, right])
        return float(self.products[left, right]) / norms


def _shape(manifest: Manifest) -> tuple[Any, ...]:
    return manifest.dtype, manifest.chunk_elements, manifest.tensors


def _update(store: BlobStore, blob: bytes) -> Manifest | None:
    """The manifest of an update that is at hand; None for anything else."""
    try:
        manifest = store.manifest(blob) if store.has(blob) else None
    except (SwarmError, OSError):
        return None
    is_update = manifest is not None and manifest.kind is BlobKind.UPDATE and manifest.dtype in _DTYPES
    return manifest if is_update else None


def _integers(store: BlobStore, blob: bytes, index: int) -> NDArray[Any]:
    return np.frombuffer(store.read_chunk(blob, index), np.dtype(store.manifest(blob).dtype).newbyteorder("<"))


def _is_zero(store: BlobStore, blob: bytes) -> bool:
    """Say whether an update is at hand and changes nothing: two such may be equal by themselves."""
    manifest = _update(store, blob)
    if manifest is None:
        return False
    return not any(_integers(store, blob, index).any() for index in range(len(manifest.chunks)))


COPIES = Rule(
    "copies",
    "No update is another site's, or an older one, again: by hash, and by angle where the updates are at hand.",
    f"A site that copies has a say in the model without patients. From a cosine of {NEAR_COPY} on two updates are one: "
    "rounding and a little noise explain such a pair, and different patients don't.",
    judge,
    "nobody has committed an update",
)
