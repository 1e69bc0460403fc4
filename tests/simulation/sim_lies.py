"""How a liar lies: it runs the very code that an honest site runs, behind a ledger client that says something else."""

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import numpy as np
from sim_chain import SimulatedChain, SimulatedLedger, Way
from sim_schedule import Lie

from ledger.calls import Receipt
from ledger.errors import ContractError, RpcUnreachable
from ledger.types import Address, Commitment, Phase, seats_of
from swarm.manifest import BlobKind
from swarm.memory_store import MemoryStore
from swarm.merge import Exclusion, MergeRule, Objection, merge_updates
from swarm.moments import merge_moments

Call = Coroutine[Any, Any, Receipt]
WRONG = b"\xbb" * 32
VOTES = ("attest", "attest_and_commit", "reject")


class LyingLedger(SimulatedLedger):
    """A ledger client that lies; `told` counts the lies. One that can't lie in some situation tells the truth."""

    def __init__(
        self,
        chain: SimulatedChain,
        me: Address,
        way: Way,
        lies: frozenset[Lie],
        store: MemoryStore,
        rule: MergeRule,
        base_of: Callable[[int], bytes | None],
        told: Callable[[Lie], None],
    ) -> None:
        super().__init__(chain, me, way)
        self._lies = lies
        self._store = store
        self._rule = rule
        self._base_of = base_of
        self._told = told

    async def send(self, function: str, *args: Any) -> Receipt:
        """Say something else than the site wanted to."""
        if function == "publish":
            return await super().send(function, *self._publication(*args))
        if function in VOTES:
            function, args = self._vote(function, *args)
        if function not in ("commit", "attest_and_commit"):
            return await super().send(function, *args)
        *where, commitment = args
        sent = [*where, self._commitment(where[1] + (function == "attest_and_commit"), commitment)]
        receipt = await super().send(function, *sent)
        if self._says(Lie.TWICE):
            await self._again(function, sent)
        return receipt

    def _says(self, lie: Lie) -> bool:
        if lie in self._lies:
            self._told(lie)
        return lie in self._lies

    async def _again(self, function: str, args: list[Any]) -> None:
        try:
            await super().send(function, *args)
        except ContractError:
            return
        raise AssertionError(f"the ledger took the same {function} twice")

    def _vote(self, function: str, *args: Any) -> tuple[str, tuple[Any, ...]]:
        if self._says(Lie.MUTE):
            raise RpcUnreachable("it never sends its votes")
        if function == "reject" and self._says(Lie.ATTEST):
            return "attest", args[:4]
        if function != "reject" and self._says(Lie.REJECT):
            return "reject", (*args[:4], int(Objection.WRONG_OUTPUT))
        return function, args

    def _commitment(self, number: int, honest: Commitment) -> Commitment:
        if self._says(Lie.NO_BLOB):
            return replace(honest, blob=WRONG)
        if self._says(Lie.OVER_CLIP):
            values = np.full(self._rule.layout[0].shape, 2 * self._rule.bound, "<i4").data
            kept = self._store.create(BlobKind.UPDATE, "int32", self._rule.layout, [values], scale_bits=8)
            return replace(honest, blob=kept.blob)
        base = self._base_of(number)
        if base is not None and self._says(Lie.COPY):
            return replace(honest, blob=base)
        return honest

    def _publication(
        self, study: int, number: int, term: int, output: bytes, merged: int, reasons: bytes
    ) -> tuple[Any, ...]:
        if self._says(Lie.SILENT):
            raise RpcUnreachable("it never publishes")
        if self._says(Lie.WRONG_OUTPUT):
            return study, number, term, WRONG, merged, reasons
        record = self.chain.twin.studies[study]
        if (record.phase, record.round, record.term) != (Phase.MERGING, number, term):
            return study, number, term, output, merged, reasons  # too late for anything
        for lie, reason in ((Lie.OMIT, Exclusion.UNREACHABLE), (Lie.FALSE_REASON, Exclusion.OVER_CLIP)):
            if lie in self._lies and merged.bit_count() > record.terms.min_sites:
                self._told(lie)
                victim = next(seat for seat in seats_of(merged) if self.chain.twin.consortium.site_at(seat) != self.me)
                given = dict(zip(seats_of(record.committed & ~merged), reasons, strict=True)) | {victim: int(reason)}
                merged &= ~(1 << victim)
                output = self._merge(number, merged)
                return study, number, term, output, merged, bytes(given[seat] for seat in sorted(given))
        return study, number, term, output, merged, reasons

    def _merge(self, number: int, merged: int) -> bytes:
        """The honest output of these inputs: where the lie is the omission, nothing else is wrong."""
        commits = self.chain.commits(number)
        inputs = [(commits[seat].blob, commits[seat].weight) for seat in seats_of(merged)]
        base = self._base_of(number)
        if base is None:
            return merge_moments(self._store, [blob for blob, _ in inputs]).blob
        return merge_updates(self._store, base, inputs, self._rule).blob
