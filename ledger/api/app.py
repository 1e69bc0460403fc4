"""The application: the API and the explorer behind one guard and one cache."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

from anyio import to_thread
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from ledger.api.cache import Cache
from ledger.api.guard import Guard
from ledger.api.problems import Problem, Refused, problem
from ledger.api.rates import Rates
from ledger.api.routes import PREFIX, router
from ledger.api.service import Service

WORKERS: Final = 2
"""Answers that are made at a time: they need the processor, and more threads would only keep it from the follower."""
DESCRIPTION: Final = """
The whole ledger of a swarm learning consortium, to be read by anybody who audits it. Nothing here writes.

Lists come a page at a time: ask again with `cursor` set to `next`. Every answer says up to which block it is true, and
has an ETag; `provisional` marks what the chain may yet take back. Errors are `application/problem+json`.
"""


def make_app(service: Service) -> FastAPI:
    """Make the API alone, as `guarded` wraps it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.live.begin()
        to_thread.current_default_thread_limiter().total_tokens = WORKERS
        yield

    app = FastAPI(
        title="Swarm learning network: auditors' API",
        version="1",
        description=DESCRIPTION,
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,  # its page loads scripts from strangers
        redoc_url=None,
        lifespan=lifespan,
        separate_input_output_schemas=False,
    )
    app.state.service = service
    app.include_router(router)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _other)
    _describe_problems(app)
    return app


def guarded(
    app: FastAPI,
    service: Service,
    *,
    is_local: bool = True,
    hosts: Iterable[str] = (),
    origins: Iterable[str] = (),
    rates: Rates | None = None,
) -> ASGIApp:
    """Put the cache and the guard before an application."""
    cached = Cache(app, lambda: service.view.snapshot)
    return Guard(cached, is_local=is_local, hosts=hosts, rates=rates, origins=origins)


async def _refused(_: Request, error: Exception) -> Response:
    return problem(error if isinstance(error, Refused) else Refused(500, "audit_api.internal", "an unexpected error"))


async def _invalid(_: Request, error: Exception) -> Response:
    wrong = error.errors() if isinstance(error, RequestValidationError) else []
    said = "; ".join(f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in wrong[:5])
    return problem(Refused(422, "audit_api.invalid", said or "the request can't be read"))


async def _other(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return problem(Refused(status, "audit_api.not_found" if status == 404 else "audit_api.refused", "no such path"))


def _describe_problems(app: FastAPI) -> None:
    """Describe errors as they are: problems, and not FastAPI's own validation errors."""
    made = app.openapi

    def described() -> dict[str, object]:
        schema = made()
        schemas = schema["components"]["schemas"]
        schemas["Problem"] = Problem.model_json_schema()
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        return schema

    app.openapi = described  # type: ignore[method-assign]
