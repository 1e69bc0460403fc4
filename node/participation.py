"""Which studies this site takes part in: accepting what its operator agreed to, running it, keeping what came of it."""

from functools import partial

import trio

from ledger.errors import ContractError, RpcError, TransactionError
from ledger.state import StudyState
from ledger.types import Status
from node import log, policy
from node.chain import Chain
from node.claims import Claims
from node.config import NodeConfig
from node.errors import NodeError, StorageError, StudyRefused
from node.faults import DieAt
from node.identity import Identity
from node.loop import Loop
from node.network.errors import NetworkError
from node.network.port import Network
from node.replies import Trains
from node.reveals import RevealChain, chain_length
from node.rounds.decide import PAUSED_SECONDS
from node.rounds.runner import StudyRunner
from node.rounds.site_parts import SiteParts
from node.site_folder import SiteFolder
from node.specification import specification
from node.study_folder import StudyFolder
from node.tally import Tally
from node.trainer import hold_against
from node.trainers import trainer_of
from swarm.blobs import BlobStore
from swarm.errors import SwarmError
from swarm.model_file import export_safetensors
from swarm.spec import StudySpec

RETRY_SECONDS = 5.0
MAX_RETRY_SECONDS = 300.0


class Participation:
    """Every study on the ledger, as far as it concerns this site."""

    def __init__(
        self,
        folder: SiteFolder,
        config: NodeConfig,
        me: Identity,
        chain: Chain,
        store: BlobStore,
        die_at: DieAt | None,
        tally: Tally | None = None,
    ) -> None:
        self._folder = folder
        self._config = config
        self._me = me
        self._chain = chain
        self._store = store
        self._die_at = die_at
        self._tally = tally or Tally()
        self._claims = Claims(chain, me.address)
        self._begun: set[int] = set()
        self._log = log.get()

    def may_serve(self, address: str, blob: bytes) -> bool:
        """Updates and models go to the sites of the study that the ledger ties them to, and to nobody else."""
        return self._claims.may_serve(address, blob)

    async def run(self, network: Network) -> None:
        """Take part in every study that this site's operator agreed to, for ever."""
        async with trio.open_nursery() as nursery:
            while True:
                for number, state in self._chain.studies.items():
                    if number not in self._begun and self._concerns(state):
                        self._begun.add(number)
                        nursery.start_soon(self._take_part, number, network)
                await self._chain.changed()

    def _concerns(self, state: StudyState) -> bool:
        if self._me.address in state.sites:
            return state.status in (Status.PROPOSED, Status.RUNNING, Status.FINISHED)
        agreed = state.spec_hash.hex() in self._config.accept
        return agreed and state.status in (Status.PROPOSED, Status.RUNNING) and self._me.address not in state.declined

    async def _take_part(self, number: int, network: Network) -> None:
        """See a study through, whatever goes wrong with it: the site's other studies don't suffer."""
        pause = RETRY_SECONDS
        while self._concerns(self._chain.studies[number]):
            try:
                await self._see_through(number, network)
                return
            except StudyRefused as refusal:
                self._log.error("study_refused", study=number, reason=str(refusal))
                self._tally.halt(number, refusal.code)
                return
            except (RpcError, TransactionError, ContractError, NetworkError, NodeError, SwarmError) as error:
                self._log.error("study_interrupted", study=number, code=error.code, reason=str(error), retry=pause)
                self._tally.halt(number, error.code)
            except OSError as error:
                code, reason = StorageError.code, f"this site's own disk: {error}"
                self._log.error("study_interrupted", study=number, code=code, reason=reason, retry=pause)
                self._tally.halt(number, code)
            await trio.sleep(pause)
            pause = min(2 * pause, MAX_RETRY_SECONDS)

    async def _see_through(self, number: int, network: Network) -> None:
        spec = specification(self._chain.studies[number])
        policy.refuse_breaches(policy.load(self._folder.home), spec)
        folder = StudyFolder(self._folder.study(number))
        if self._chain.studies[number].status is Status.FINISHED and folder.is_concluded():
            return
        folder.keep_spec(spec.canonical())
        deployment = self._chain.ledger.deployment
        reveals = await trio.to_thread.run_sync(
            RevealChain, self._me.key, deployment.chain_id, deployment.study, number, chain_length(spec.training.rounds)
        )
        trainer = trainer_of(spec, folder.path, self._config, self._folder.home, self._folder.blobs)
        try:
            await hold_against(spec, trainer)
            if not await self._join(number, spec, reveals):
                return
            self._claims.enter(number, spec)
            self._tally.under_way(number)
            site = SiteParts(
                self._me.address,
                self._chain,
                network,
                self._store,
                self._claims,
                self._die_at,
                self._folder.is_paused,
                self._tally,
            )
            runner = StudyRunner(site, number, spec, folder, trainer, reveals)
            await runner.run()
            await self._conclude(number, folder, trainer, runner)
        finally:
            await trainer.close()

    async def _join(self, number: int, spec: StudySpec, reveals: RevealChain) -> bool:
        """Accept the study unless that is done, and await its start; False where it never starts."""
        if self._me.address not in self._chain.studies[number].sites:
            while self._folder.is_paused():
                await trio.sleep(PAUSED_SECONDS)
            await self._chain.submit(partial(self._chain.ledger.accept, number, spec.hash, reveals.tip))
            self._log.info("study_accepted", study=number, name=spec.study.name, spec=spec.hash.hex())
        while self._chain.studies[number].status is Status.PROPOSED:
            await self._chain.changed()
        return bool(self._chain.studies[number].rounds)

    async def _conclude(self, number: int, folder: StudyFolder, trainer: Trains, runner: StudyRunner) -> None:
        """Keep the final model as a file, and how it does on this site's own test data."""
        if self._chain.studies[number].status is not Status.FINISHED:
            self._log.warning("study_aborted", study=number)
            if isinstance(trainer, Loop):
                trainer.ended(f"study {number} was aborted: it has no final model")
            return
        model, moments = await runner.bring_outcome()
        await trio.to_thread.run_sync(export_safetensors, self._store, model, folder.model_path)
        reply = await trainer.request("evaluate", model=model.hex(), moments=moments and moments.hex())
        outcome = {"study": number, "model": model.hex(), "moments": moments and moments.hex()}
        folder.keep_result({**reply, **outcome})
        self._log.info("study_finished", **outcome, evaluation=reply)
