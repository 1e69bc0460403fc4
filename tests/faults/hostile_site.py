"""A site that commits what nobody can merge; the fault tests start it in place of `swarm-node run`.

    python hostile_site.py DEED@ROUND,DEED@ROUND,... --home DIR ...

In the rounds that aren't named it is an honest site, and so it is as a leader and as a reviewer in all of them.
"""

import secrets
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from node import participation
from node.cli.main import run
from node.rounds.decide import Basis
from node.rounds.runner import StudyRunner
from node.study_folder import UpdateRecord
from swarm.manifest import BlobKind, Layout, TensorShape, layout_elements
from swarm.merge import MergeRule
from swarm.moments import Moments, write_moments


class Forger:
    """Makes the blob of each deed."""

    def __init__(self, runner: StudyRunner) -> None:
        self._runner = runner
        self._store = runner._site.store
        spec = runner._spec
        self._columns = spec.data.columns
        self._rule: MergeRule = spec.merge_rule(self._store.manifest(spec.initial).tensors)

    def impossible_count(self, basis: Basis, honest: bytes) -> bytes:
        nothing = (0,) * self._columns
        return write_moments(self._store, Moments(2**62, nothing, nothing)).blob

    def over_clip(self, basis: Basis, honest: bytes) -> bytes:
        return self._update(self._rule.layout, self._rule.bound)

    def wrong_shape(self, basis: Basis, honest: bytes) -> bytes:
        return self._update((TensorShape("another", (layout_elements(self._rule.layout),)),), 0)

    def oversized(self, basis: Basis, honest: bytes) -> bytes:
        return self._update((TensorShape("large", (10 * layout_elements(self._rule.layout),)),), 0)

    def nan_model(self, basis: Basis, honest: bytes) -> bytes:
        numbers = np.full(layout_elements(self._rule.layout), np.nan, "<f4")
        return self._store.create(BlobKind.MODEL, "float32", self._rule.layout, [numbers.data]).blob

    def statistics_again(self, basis: Basis, honest: bytes) -> bytes:
        mine = self._runner._folder.update(Basis(0, None, None))
        assert mine is not None
        return mine.blob

    def the_model(self, basis: Basis, honest: bytes) -> bytes:
        assert basis.base is not None
        return basis.base

    def the_moments(self, basis: Basis, honest: bytes) -> bytes:
        assert basis.moments is not None
        return basis.moments

    def truncated(self, basis: Basis, honest: bytes) -> bytes:
        self._data(honest).write_bytes(b"")
        return honest

    def changed(self, basis: Basis, honest: bytes) -> bytes:
        data = bytearray(self._data(honest).read_bytes())
        data[0] ^= 1
        self._data(honest).write_bytes(data)
        return honest

    def nobody_has_it(self, basis: Basis, honest: bytes) -> bytes:
        return secrets.token_bytes(32)

    def _update(self, layout: Layout, value: int) -> bytes:
        numbers = np.full(layout_elements(layout), value, "<i4")
        scale = self._rule.scale_bits
        return self._store.create(BlobKind.UPDATE, "int32", layout, [numbers.data], scale_bits=scale).blob

    def _data(self, blob: bytes) -> Any:
        return self._store.path / blob.hex() / "data"  # type: ignore[attr-defined]


def hostile(deeds: dict[int, str]) -> type[StudyRunner]:
    class HostileRunner(StudyRunner):
        async def _train(self, basis: Basis) -> None:
            await super()._train(basis)
            update = self._folder.update(basis)
            if update is None or basis.round not in deeds:
                return
            deed: Callable[[Basis, bytes], bytes] = getattr(Forger(self), deeds[basis.round].replace("-", "_"))
            self._folder.keep_update(basis, UpdateRecord(deed(basis, update.blob), update.weight, 0))

    return HostileRunner


def main() -> None:
    plan = [deed.partition("@") for deed in sys.argv.pop(1).split(",")]
    participation.StudyRunner = hostile({int(number): deed for deed, _, number in plan})  # type: ignore[misc]
    run()


main()
