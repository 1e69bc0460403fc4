"""Which studies this site takes part in: accepting what its operator agreed to, running it, keeping what came of it."""

from dataclasses import asdict
from functools import partial

import trio

from ledger.state import StudyState
from ledger.types import Status, Terms
from node import log
from node.chain import Chain
from node.config import NodeConfig
from node.errors import StudyRefused, WorkerError
from node.faults import DieAt
from node.identity import Identity
from node.network.port import Network
from node.reveals import RevealChain, chain_length
from node.rounds.runner import SiteParts, StudyRunner
from node.site_folder import SiteFolder
from node.study_folder import StudyFolder
from node.trainer import Trainer
from swarm.blobs import BlobStore
from swarm.errors import SwarmError
from swarm.model_file import export_safetensors
from swarm.spec import StudySpec

RETRY_SECONDS = 5.0


class Participation:
    """Every study on the ledger, as far as it concerns this site."""

    def __init__(
        self, folder: SiteFolder, config: NodeConfig, me: Identity, chain: Chain, store: BlobStore, die_at: DieAt | None
    ) -> None:
        self._folder = folder
        self._config = config
        self._me = me
        self._chain = chain
        self._store = store
        self._die_at = die_at
        self._begun: set[int] = set()
        self._log = log.get()

    def may_serve(self, address: str, blob: bytes) -> bool:
        """Updates and models go to the sites of the study that the ledger ties them to, and to nobody else."""
        return any(address in state.sites and state.knows(blob) for state in self._chain.studies.values())

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
        state = self._chain.studies[number]
        folder = StudyFolder(self._folder.study(number))
        try:
            spec = self._inspect(state)
        except StudyRefused as refusal:
            self._log.error("study_refused", study=number, reason=str(refusal))
            return
        folder.keep_spec(spec.canonical())
        deployment = self._chain.ledger.deployment
        reveals = await trio.to_thread.run_sync(
            RevealChain, self._me.key, deployment.chain_id, deployment.study, number, chain_length(spec.training.rounds)
        )
        trainer = Trainer(folder.spec_path, self._config.data, self._folder.blobs, self._config.worker)
        try:
            if not await self._prepare(number, spec, trainer):
                return
            if self._me.address not in state.sites:
                await self._chain.submit(partial(self._chain.ledger.accept, number, spec.hash, reveals.tip))
                self._log.info("study_accepted", study=number, name=spec.study.name, spec=spec.hash.hex())
            while self._chain.studies[number].status is Status.PROPOSED:
                await self._chain.changed()
            site = SiteParts(self._me.address, self._chain, network, self._store, self._die_at)
            runner = StudyRunner(site, number, spec, folder, trainer, reveals)
            await runner.run()
            await self._conclude(number, folder, trainer, runner)
        finally:
            await trainer.close()

    def _inspect(self, state: StudyState) -> StudySpec:
        """Parse a study's specification and hold it against its terms on the ledger."""
        try:
            spec = StudySpec.from_json(state.spec)
        except SwarmError as error:
            raise StudyRefused(f"the specification can't be run: {error}") from None
        if spec.hash != state.spec_hash or Terms(**asdict(spec.terms())) != state.terms:
            raise StudyRefused("the terms on the ledger are not those of the specification")
        return spec

    async def _prepare(self, number: int, spec: StudySpec, trainer: Trainer) -> bool:
        """Hold the local data and the initial model against the specification."""
        try:
            reply = await trainer.request("initial")
        except WorkerError as error:
            self._log.error("study_refused", study=number, code=error.cause or error.code, reason=str(error))
            return False
        if reply["blob"] != spec.model.initial:
            self._log.error(
                "study_refused", study=number, reason="the initial model is not the one in the specification"
            )
            return False
        return True

    async def _conclude(self, number: int, folder: StudyFolder, trainer: Trainer, runner: StudyRunner) -> None:
        """Keep the final model as a file, and how it does on this site's own test data."""
        if self._chain.studies[number].status is not Status.FINISHED:
            self._log.warning("study_aborted", study=number)
            return
        model, moments = await runner.bring_outcome()
        await trio.to_thread.run_sync(export_safetensors, self._store, model, folder.model_path)
        reply = await trainer.request("evaluate", model=model.hex(), moments=moments and moments.hex())
        outcome = {"study": number, "model": model.hex(), "moments": moments and moments.hex(), **reply}
        folder.keep_result(outcome)
        self._log.info("study_finished", study=number, model=model.hex(), **reply)
