"""The one path by which anything computed from patients' records leaves a site.

Every update and every statistic of every site, the leader's own included, goes through this module before it becomes
a blob. It fails closed: a privacy mode that it has no treatment for, a number that isn't finite, or too few records
give an UpdateError and no bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm.blobs import BlobStore
from swarm.errors import UpdateError
from swarm.fixed import BLOCK, ClipPlan, Doubles, plan_clip, squared_norm_of_block
from swarm.manifest import BlobKind, Manifest, layout_elements
from swarm.merge import MergeRule
from swarm.moments import Moments, compute_moments
from swarm.spec import PrivacySection
from swarm.weights import Floats, cut


@dataclass(frozen=True, slots=True)
class PreparedUpdate:
    """An update that may leave: its integers, chunk by chunk, and what its commit must state.

    `epsilon_micro` is what this update alone spends, in millionths. The vectors must not change before it is written.
    """

    trained: Floats
    base: Floats
    rule: MergeRule
    plan: ClipPlan
    epsilon_micro: int

    @property
    def norm(self) -> float:
        """L2 norm of the update before the clip."""
        return self.plan.norm

    @property
    def clipped(self) -> bool:
        """Whether the clip changed it."""
        return self.plan.clipped

    def chunks(self) -> Iterator[memoryview]:
        """Give the treated chunks, little-endian, for a blob of the kind `update`.

        Raises UpdateError where they don't obey the bound, because a vector was changed after the clip was planned.
        """
        norm = 0
        size = self.rule.chunk_elements
        for after, before in zip(cut(self.trained, size), cut(self.base, size), strict=True):
            chunk = np.empty(after.size, np.dtype(self.rule.dtype).newbyteorder("<"))
            start = 0
            for delta in _deltas(after, before):
                values = self.plan.quantise(delta)
                norm += squared_norm_of_block(values)
                chunk[start : start + values.size] = values
                start += values.size
            if norm > self.rule.bound**2:
                raise UpdateError("the update is over its bound: it changed after its clip was planned")
            yield chunk.data.cast("B")

    def write(self, store: BlobStore) -> Manifest:
        """Keep the update as a blob."""
        rule = self.rule
        return store.create(
            BlobKind.UPDATE,
            rule.dtype,
            rule.layout,
            self.chunks(),
            scale_bits=rule.scale_bits,
            chunk_elements=rule.chunk_elements,
        )


def prepare_update(
    trained: Floats, base: Floats, *, rule: MergeRule, privacy: PrivacySection, samples: int
) -> PreparedUpdate:
    """Clip, quantise and treat what a site has learned, as the study's privacy mode says.

    `trained` and `base` are flat vectors of the rule's layout; `samples` is the number of records trained on.
    Raises UpdateError where nothing may leave.
    """
    _check_allowed(privacy, samples)
    elements = layout_elements(rule.layout)
    if not trained.shape == base.shape == (elements,):
        raise UpdateError(f"vectors of shapes {trained.shape} and {base.shape} where the model has {elements} elements")
    plan = plan_clip(
        lambda: _deltas(trained, base),
        bound=rule.bound,
        scale_bits=rule.scale_bits,
        dtype=rule.dtype,
    )
    return PreparedUpdate(trained, base, rule, plan, epsilon_micro=0)


def prepare_moments(matrix: NDArray[np.floating[Any]], *, privacy: PrivacySection, samples: int) -> Moments:
    """Sum up a site's features, rows [n, columns], for the statistics round; raises UpdateError, or DataError.

    `samples` is the number of records behind the rows: an image has many rows, one for each pixel.
    """
    _check_allowed(privacy, samples)
    return compute_moments(matrix)


def _check_allowed(privacy: PrivacySection, samples: int) -> None:
    if privacy.mode != "bound":
        raise UpdateError(f"privacy mode {privacy.mode!r}: this version has no such treatment, so nothing leaves")
    if samples < privacy.min_samples:
        raise UpdateError(f"{samples} records: nothing leaves a site with fewer than {privacy.min_samples}")


def _deltas(trained: Floats, base: Floats) -> Iterator[Doubles]:
    """Give the difference in float64, block by block, each in the same memory."""
    scratch = np.empty(min(BLOCK, trained.size), np.float64)
    for start in range(0, trained.size, BLOCK):
        after = trained[start : start + BLOCK]
        delta = scratch[: after.size]
        delta[:] = after
        yield np.subtract(delta, base[start : start + BLOCK], out=delta)
