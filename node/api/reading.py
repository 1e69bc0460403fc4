"""The paths that only read: health, metrics, the site, studies, rounds and models."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from ledger.types import Status as StudyStatus
from node.api import consent, health, metrics, schemas, views
from node.api.bridge import SiteStuck
from node.api.live import age_of_head, desk_of, free_bytes, observe
from node.api.paging import MOST, USUAL, page
from node.api.problems import documented
from node.api.service import Service, in_thread, known, needs
from node.api.tokens import Scope
from node.operator import studies
from node.operator.standing import standing
from node.version import SOFTWARE

MOST_OPEN_STUDIES = 100
MOST_NUMBER = 2**31 - 1

StudyNumber = Annotated[int, Path(ge=1, le=MOST_NUMBER)]
RoundNumber = Annotated[int, Path(ge=0, le=65_535)]
Cursor = Annotated[int | None, Query(ge=0, le=MOST_NUMBER, description="`next` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=MOST)]
ModelHash = Annotated[str, Path(pattern=schemas.HASH)]


def open_router(service: Service) -> APIRouter:
    """What needs no token."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", response_model=schemas.Health, responses={503: {"model": schemas.Health}})
    async def healthz(response: Response) -> Any:
        """Whether the site is of use: 200, or 503 with every reason why not."""
        try:
            found = service.ailments(await service.bridge.ask(partial(observe, service.site)))
        except SiteStuck:
            found = [health.STUCK]
        response.status_code = 503 if found else 200
        reasons = [{"code": one.code, "says": one.says} for one in found]
        return {"status": "unhealthy" if found else "ok", "reasons": reasons}

    return router


def site_router(service: Service) -> APIRouter:
    """The site as a whole."""
    router = APIRouter(tags=["site"], dependencies=[needs(service, Scope.READ)], responses=documented(401, 403))
    text: dict[int | str, dict[str, Any]] = {
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus' text format"}
    }

    @router.get("/metrics", response_class=Response, responses=text)
    async def collect() -> Response:
        """The site's metrics, for Prometheus."""
        seen = await service.look()
        content = metrics.render(
            seen,
            me=service.site.me.address,
            free_bytes=free_bytes(service.site),
            age_of_head=age_of_head(seen),
            is_paused=service.site.folder.is_paused(),
        )
        return Response(content, media_type=CONTENT_TYPE_PLAIN_0_0_4)

    @router.get("/v1/status", response_model=schemas.Status)
    async def status() -> Any:
        """What this site and its swarm do, what they wait for, since when and until when, by name."""
        seen = await service.look()
        desk = desk_of(service.site, seen)
        open_ones = [one for one in seen.studies.values() if one.status in (StudyStatus.PROPOSED, StudyStatus.RUNNING)]
        return {
            **studies.this_site(desk),
            "software": SOFTWARE,
            "healthy": not service.ailments(seen),
            "connected": sorted(map(seen.consortium.name_of, seen.connected)),
            "chain": views.chain_view(seen, desk.ledger.deployment.chain_id, age_of_head(seen)),
            "studies": [standing(desk, one) for one in open_ones[-MOST_OPEN_STUDIES:]],
        }

    @router.get("/v1/peers", response_model=schemas.Peers)
    async def peers() -> Any:
        """The other members: who is connected, what it runs, and how much was exchanged."""
        return {"items": views.peers(await service.look(), service.site.me.address)}

    return router


def studies_router(service: Service) -> APIRouter:
    """Studies and their rounds."""
    router = APIRouter(
        prefix="/v1/studies",
        tags=["studies"],
        dependencies=[needs(service, Scope.READ)],
        responses=documented(401, 403, 404),
    )

    @router.get("", response_model=schemas.Studies)
    async def list_studies(cursor: Cursor = None, limit: Limit = USUAL) -> Any:
        """Every study on the ledger, the newest first."""
        desk = await service.desk()
        found, following = page(desk.state.studies, cursor, limit, newest_first=True)
        return {"items": [standing(desk, study) for study in found], "next": following}

    @router.get("/{study}", response_model=schemas.Study)
    async def show_study(study: StudyNumber) -> Any:
        """Where one study stands."""
        desk = await service.desk()
        return standing(desk, known(desk.state.studies, study))

    @router.get("/{study}/inspection", response_model=schemas.Inspection, responses=documented(409))
    async def inspect(study: StudyNumber) -> Any:
        """In plain words: what a study runs here, what leaves, what this site's policy says, and what changed."""
        desk = await service.desk()
        return await in_thread(partial(consent.inspect, desk, study))

    @router.get("/{study}/rounds", response_model=schemas.Rounds)
    async def list_rounds(study: StudyNumber, cursor: Cursor = None, limit: Limit = USUAL) -> Any:
        """A study's rounds with commits, terms and faults, the newest first."""
        seen = await service.look()
        state = known(seen.studies, study)
        found, following = page({one.number: one for one in state.rounds}, cursor, limit, newest_first=True)
        return {"items": [views.round_view(state, one, seen.consortium) for one in found], "next": following}

    @router.get("/{study}/rounds/{number}", response_model=schemas.Round)
    async def show_round(study: StudyNumber, number: RoundNumber) -> Any:
        """One round."""
        seen = await service.look()
        state = known(seen.studies, study)
        return views.round_view(state, known({one.number: one for one in state.rounds}, number), seen.consortium)

    return router


def models_router(service: Service) -> APIRouter:
    """The models that became final."""
    router = APIRouter(
        prefix="/v1/models", tags=["models"], dependencies=[needs(service, Scope.READ)], responses=documented(401, 403)
    )

    @router.get("", response_model=schemas.Models)
    async def list_models(cursor: Cursor = None, limit: Limit = USUAL) -> Any:
        """The models that became final, in the order of the ledger."""
        ordered = dict(enumerate(views.models(await service.look()).items()))
        found, following = page(ordered, cursor, limit)
        return {"items": [views.model_view(*model, service.site.store) for model in found], "next": following}

    @router.get("/{model}", response_model=schemas.Model, responses=documented(404))
    async def show_model(model: ModelHash) -> Any:
        """One model by its hash: of which studies and rounds it is the outcome, and whether it is on this disk."""
        blob = bytes.fromhex(model)
        return views.model_view(blob, known(views.models(await service.look()), blob), service.site.store)

    return router
