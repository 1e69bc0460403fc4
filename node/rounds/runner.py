"""The round loop of one study: decide, do it while it is still the answer, decide again."""

from collections.abc import Callable
from functools import partial
from typing import Any

import trio

from ledger.calls import Receipt
from ledger.errors import ContractError, RpcError, TransactionError
from ledger.state import StudyState
from ledger.types import Commitment, Status
from node import log
from node.errors import NodeError, StorageError, WorkerError
from node.network.errors import PullFailed
from node.replies import Trains
from node.reveals import RevealChain
from node.rounds import decide as do
from node.rounds.inputs import Inputs
from node.rounds.review import Published, Reviewer
from node.rounds.site_parts import SiteParts
from node.rounds.situation import Findings, base_of, entries, moments_of, situation
from node.rounds.stopwatch import Activity, Stopwatch
from node.rounds.timing import RoundTiming
from node.rounds.upkeep import Upkeep
from node.study_folder import StudyFolder, UpdateRecord
from swarm.errors import BlobError, SwarmError
from swarm.merge import Objection
from swarm.spec import StudySpec

RETRY_SECONDS = 1.0
MAX_RETRY_SECONDS = 60.0
SHARE_OF_DEADLINE = 0.5
"""How much of a phase may be spent on waiting for inputs; the rest is for merging and for the ledger."""
RECONSIDER_SECONDS = 1.0
"""How often an action under way is held against the clock; whatever happens on the ledger is noticed at once."""
LEAST_PATIENCE = 1.0
"""Seconds for inputs where a phase is nearly over, or over and nobody has ended it."""
QUICK_TRAINING_SHARE = 0.1
"""Training that takes less than this share of the longest review may delay the attestation that goes with it,"""
SHARE_OF_REVIEW = 0.25
"""and less than this share of the present review's time: that is four times what reviews take, so that training which
was waited for before still is."""


class StudyRunner:
    """Takes part in one study until it ends."""

    def __init__(
        self, site: SiteParts, study: int, spec: StudySpec, folder: StudyFolder, trainer: Trains, reveals: RevealChain
    ) -> None:
        self._site = site
        self._chain = site.chain
        self._study = study
        self._spec = spec
        self._folder = folder
        self._trainer = trainer
        self._reveals = reveals
        rule = spec.merge_rule(site.store.manifest(spec.initial).tensors)
        self._stopwatch = Stopwatch()
        self._inputs = Inputs(site.network, site.store, rule, spec.data.columns, self._stopwatch)
        self._reviewer = Reviewer(self._inputs, site.store, rule, self._stopwatch)
        self._findings = Findings()
        self._training_seconds = 0.0
        self._training_since: float | None = None
        self._commit_fails = False
        self._log = log.get().bind(study=study)
        self._timing = RoundTiming(self._stopwatch, site.network, lambda: self.state, folder, self._log, site.tally)
        self._upkeep = Upkeep(site, spec, folder, self._inputs, lambda: self.state, self._log)
        folder.forget_updates(lambda blob: not site.store.has(blob))

    @property
    def state(self) -> StudyState:
        """The study on the ledger."""
        return self._chain.studies[self._study]

    async def run(self) -> None:
        """Take part until the study is finished or aborted."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._upkeep.run)
            nursery.start_soon(self._timing.follow, self._chain)
            pause = RETRY_SECONDS
            while self.state.status is Status.RUNNING:
                action = self._decide()
                if isinstance(action, do.Wait):
                    await self._chain.changed_or(action.until)
                    continue
                pause = (
                    RETRY_SECONDS
                    if await self._perform_while_current(action, pause)
                    else min(2 * pause, MAX_RETRY_SECONDS)
                )
            self._timing.tell()
            nursery.cancel_scope.cancel()

    def _decide(self) -> do.Action:
        # A site that can't train or commit has verified all the same: without its vote the round might never be final.
        rides = self._is_quick() and not self._commit_fails
        return do.decide(
            situation(
                self.state,
                self._site.address,
                self._chain.consortium.active_seats,
                self._spec,
                self._folder,
                self._findings,
                self._chain.now(),
                rides,
                self._site.is_paused(),
            )
        )

    def _is_quick(self) -> bool:
        longest = QUICK_TRAINING_SHARE * self._spec.round.review_seconds
        publication = self.state.round.publication
        if publication is not None:
            longest = min(longest, SHARE_OF_REVIEW * (publication.deadline - publication.at.timestamp))
        return self._training_now() < longest

    async def _perform_while_current(self, action: do.Action, pause: float) -> bool:
        """Perform an action; cancel it once it's no longer the answer. False where it failed and `pause` was made."""
        ok = True
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                while self.state.status is Status.RUNNING and self._decide() == action:
                    with trio.move_on_after(RECONSIDER_SECONDS):
                        await self._chain.changed()
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            ok = await self._perform(action)
            if isinstance(action, do.Train | do.Commit | do.AttestAndCommit):
                self._commit_fails = not ok
            if not ok:
                with trio.move_on_after(pause):
                    await trio.sleep_forever()
            nursery.cancel_scope.cancel()
        return ok

    async def _perform(self, action: do.Action) -> bool:
        if self._site.die_at is not None:
            self._site.die_at.check("before", action)
        fields = _fields(action)
        try:
            await self._dispatch(action)
        except ContractError as error:
            # Usually another site was quicker, or the phase moved on between reading and writing.
            self._log.info("ledger_refused", action=type(action).__name__, reason=str(error), **fields)
            self._site.tally.refused(error.code)
            return False
        except RpcError as error:
            self._log.warning("ledger_unreachable", action=type(action).__name__, reason=str(error), **fields)
            self._site.tally.failed(self._study, type(action).__name__, error.code)
            return False
        except (TransactionError, PullFailed, NodeError, SwarmError) as error:
            self._log.error("action_failed", action=type(action).__name__, code=error.code, reason=str(error), **fields)
            self._site.tally.failed(self._study, type(action).__name__, error.code)
            return False
        except OSError as error:
            code, reason = StorageError.code, f"this site's own disk: {error}"
            self._log.error("action_failed", action=type(action).__name__, code=code, reason=reason, **fields)
            self._site.tally.failed(self._study, type(action).__name__, code)
            return False
        self._site.tally.succeeded(self._study, type(action).__name__)
        if self._site.die_at is not None:
            self._site.die_at.check("after", action)
        return True

    async def _dispatch(self, action: do.Action) -> None:
        ledger, study = self._chain.ledger, self._study
        match action:
            case do.Train(basis):
                with self._stopwatch.on(Activity.TRAINING):
                    await self._train(basis)
            case do.Commit(basis, attempt):
                commitment = self._commitment(basis)
                await self._submit("committed", action, partial(ledger.commit, study, basis.round, attempt, commitment))
            case do.AttestAndCommit(number, term, output, basis):
                commitment = self._commitment(basis)
                await self._submit(
                    "attested_and_committed",
                    action,
                    partial(ledger.attest_and_commit, study, number, term, output, commitment),
                )
            case do.Seal(number, attempt):
                await self._submit("sealed", action, partial(ledger.seal, study, number, attempt))
            case do.Publish():
                await self._publish(action)
            case do.Verify():
                await self._verify(action)
            case do.Attest(number, term, output):
                await self._submit("attested", action, partial(ledger.attest, study, number, term, output))
            case do.Reject(number, term, output, objection):
                await self._submit(
                    "rejected", action, partial(ledger.reject, study, number, term, output, int(objection))
                )
            case do.Rotate(number, term):
                await self._submit("rotated", action, partial(ledger.rotate, study, number, term))
            case do.Wait():
                pass

    async def _submit(self, event: str, action: do.Action, send: Callable[[], Receipt]) -> None:
        with self._stopwatch.on(Activity.LEDGER):
            receipt = await self._chain.submit(send)
        self._log.info(event, tx=receipt.tx.hex(), gas=receipt.gas_used, **_fields(action))

    async def _train(self, basis: do.Basis) -> None:
        self._training_since = trio.current_time()
        try:
            reply = await self._ask_trainer(basis)
        finally:
            self._training_seconds, self._training_since = self._training_now(), None
        update = UpdateRecord.from_reply(reply)
        await self._vet(basis, update)
        self._folder.keep_update(basis, update)
        self._log.info("trained", round=basis.round, update=reply)

    async def _ask_trainer(self, basis: do.Basis) -> dict[str, Any]:
        if basis.round == 0:
            return await self._trainer.request("moments")
        base = basis.base or b""
        await self._have(base, "base model", basis.round)
        if basis.moments is not None:
            await self._have(basis.moments, "moments", basis.round)
        return await self._trainer.request(
            "train", round=basis.round, base=base.hex(), moments=basis.moments and basis.moments.hex()
        )

    async def _vet(self, basis: do.Basis, update: UpdateRecord) -> None:
        """Make sure that what the training process made may leave; raises WorkerError where it may not."""
        finding = await self._inputs.fetch(update.blob, basis.round, ())
        if finding is not None or update.weight > self._spec.merge.weight_cap:
            what = "weight is over the cap" if finding is None else f"update is {finding.name.lower()}"
            raise WorkerError(f"the training process broke the study's rules: its {what}; it is not committed")

    def _training_now(self) -> float:
        """Seconds that training takes: the last one, or the present one where that is longer already."""
        if self._training_since is None:
            return self._training_seconds
        return trio.current_time() - self._training_since

    async def _have(self, blob: bytes, what: str, number: int) -> None:
        """Bring an output that became final while this site was away."""
        if self._site.store.has(blob):
            return
        sources = [site for site in self.state.sites if site != self._site.address]
        try:
            with self._stopwatch.on(Activity.TRANSFER):
                await self._site.network.pull(blob, sources, max_bytes=self._inputs.output_bytes)
        except (BlobError, OSError) as error:
            raise StorageError(
                f"the {what} of round {number} can't be kept on this site's own disk: {error}"
            ) from error
        self._log.info("caught_up", what=what, round=number, blob=blob.hex())

    def _commitment(self, basis: do.Basis) -> Commitment:
        update = self._folder.update(basis)
        if update is None:
            raise NodeError(f"the update of round {basis.round} is gone from the disk")
        self._site.claims.offer(self._study, update.blob)
        seen = self._chain.tip
        link = self.state.sites[self._site.address].link
        return Commitment(
            blob=update.blob,
            weight=update.weight,
            epsilon_spent=update.epsilon_micro,
            reveal=self._reveals.reveal(link),
            seen_block=seen.number,
            seen_hash=seen.hash,
        )

    async def _publish(self, action: do.Publish) -> None:
        state = self.state
        gathered = await self._reviewer.gather(action.round, entries(state), self._give_up())
        for seat, reason in gathered.excluded.items():
            self._log.warning("excluded", round=action.round, term=action.term, seat=seat, reason=reason.name.lower())
        needed = self._spec.round.min_sites
        if len(gathered.merged) < needed:
            raise NodeError(f"only {len(gathered.merged)} of the needed {needed} inputs are fit to be merged")
        base = await self._base(action.round)
        with self._stopwatch.on(Activity.MERGE):
            output = await self._reviewer.merge(action.round, base, gathered.merged)
        self._findings.note(action.round, action.attempt, action.term, output, True)
        await self._submit(
            "published",
            action,
            partial(
                self._chain.ledger.publish,
                self._study,
                action.round,
                action.term,
                output,
                gathered.seats,
                gathered.reasons,
            ),
        )

    async def _verify(self, action: do.Verify) -> None:
        state = self.state
        publication = state.round.publication
        if publication is None:
            raise NodeError("nothing is published")
        leader = state.round.leader or ""
        published = Published(leader, publication.output, publication.merged, publication.reasons)
        base = await self._base(action.round)
        verdict = await self._reviewer.review(action.round, base, entries(state), published, self._give_up())
        self._findings.note(action.round, action.attempt, action.term, action.output, verdict)
        if isinstance(verdict, Objection):
            self._log.warning("objection", round=action.round, term=action.term, objection=verdict.name.lower())

    def _give_up(self) -> float:
        """Seconds that inputs of the present phase may stay unreachable; some also where its deadline is over."""
        return max(LEAST_PATIENCE, SHARE_OF_DEADLINE * (self.state.round.deadline - self._chain.now()))

    async def _base(self, number: int) -> bytes | None:
        """The round's base model, made sure to be on this site's disk."""
        base = base_of(self.state, self._spec, number)
        if base is not None:
            await self._have(base, "base model", number)
        return base

    async def bring_outcome(self) -> tuple[bytes, bytes | None]:
        """The final model and the moments of a finished study, made sure to be on this site's disk."""
        final, moments = self.state.final_output, moments_of(self.state, self._spec)
        if final is None:
            raise NodeError("the study has no final model")
        await self._have(final, "final model", self.state.round.number)
        if moments is not None:
            await self._have(moments, "moments", 0)
        return final, moments


def _fields(action: do.Action) -> dict[str, int]:
    """What a log line says of an action: round, attempt and term, where it has them."""
    fields = {name: getattr(action, name) for name in ("round", "attempt", "term") if hasattr(action, name)}
    basis = getattr(action, "basis", None)
    return {"round": basis.round, **fields} if basis is not None else fields
