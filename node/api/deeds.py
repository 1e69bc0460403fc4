"""The paths that do something: answer a study, pause, resume, stop."""

from functools import partial
from typing import Any

from fastapi import APIRouter

from node.api import consent, schemas
from node.api.bridge import SiteStuck
from node.api.problems import UNAVAILABLE, documented
from node.api.reading import StudyNumber
from node.api.service import Service, in_thread, needs
from node.api.tokens import Scope
from node.pausing import pause, resume


def consent_router(service: Service) -> APIRouter:
    """Answering what others propose."""
    router = APIRouter(
        prefix="/v1/studies",
        tags=["consent"],
        dependencies=[needs(service, Scope.CONSENT)],
        responses=documented(401, 403, 404, 409),
    )

    @router.post("/{study}/accept", response_model=schemas.Answered)
    async def accept(study: StudyNumber, agreed: schemas.Consent) -> Any:
        """Accept exactly this specification, where policy and data allow it; the site then takes part."""
        return await service.answer(lambda desk: consent.accept(desk, study, agreed.spec_hash))

    @router.post("/{study}/decline", response_model=schemas.Answered)
    async def decline(study: StudyNumber, declined: schemas.Consent) -> Any:
        """Decline exactly this specification, on record."""
        return await service.answer(lambda desk: consent.decline(desk, study, declined.spec_hash))

    return router


def control_router(service: Service) -> APIRouter:
    """Pause, resume, stop."""
    router = APIRouter(
        prefix="/v1", tags=["control"], dependencies=[needs(service, Scope.CONTROL)], responses=documented(401, 403)
    )

    @router.post("/pause", response_model=schemas.Paused)
    async def pause_site(order: schemas.PauseOrder) -> Any:
        """Have the site take no new work; it sees through what others wait for, and stays paused across restarts."""
        return await in_thread(partial(pause, service.site.folder, order.reason))

    @router.post("/resume", response_model=schemas.Resumed)
    async def resume_site() -> Any:
        """Let the site take part again."""
        return {"was_paused": await in_thread(partial(resume, service.site.folder))}

    @router.post("/stop", response_model=schemas.Stopping, status_code=202)
    async def stop_site() -> Any:
        """Have the site stop cleanly; when it is started again it goes on where it was."""
        try:
            await service.bridge.ask(service.site.stop)
        except SiteStuck:
            raise UNAVAILABLE from None
        return {"stopping": True}

    return router
