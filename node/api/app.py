"""The application: every path, and one form for every error."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from node.api.deeds import consent_router, control_router
from node.api.problems import INTERNAL, NOT_FOUND, UNAVAILABLE, Problem, Refused, documented, problem
from node.api.reading import models_router, open_router, site_router, studies_router
from node.api.service import Service
from node.version import SOFTWARE

MOST_FIELDS = 20
MOST_CHARS = 200


def make_app(service: Service) -> FastAPI:
    """Put the application together."""
    app = FastAPI(
        title="swarm-node",
        version=SOFTWARE.rpartition("/")[2],
        description="The operator's interface of one site of a swarm learning network.",
        docs_url=None,  # its page loads scripts from another host
        redoc_url=None,
        responses=documented(400, 405, 408, 413, 421, 422, 431, 500, 503),
    )
    for make in (open_router, site_router, studies_router, models_router, consent_router, control_router):
        app.include_router(make(service))
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _failed)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(Exception, _unexpected)
    _describe_problems(app)
    return app


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    # What was sent is not repeated, only where it is wrong and how.
    fields = {".".join(map(str, one["loc"]))[:MOST_CHARS]: str(one["msg"])[:MOST_CHARS] for one in faults[:MOST_FIELDS]}
    return problem(Refused(422, "api.invalid", "the request is not what is described; see `fields`"), fields)


async def _failed(_: Request, error: Exception) -> JSONResponse:
    """What the framework itself refuses."""
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == NOT_FOUND.status:
        return problem(NOT_FOUND)
    code = {400: "api.malformed", 405: "api.method"}.get(error.status_code, "api.refused")
    return problem(Refused(error.status_code, code, "the request can't be answered", headers=error.headers))


async def _refused(_: Request, error: Exception) -> JSONResponse:
    return problem(error if isinstance(error, Refused) else UNAVAILABLE)


async def _unexpected(_: Request, error: Exception) -> JSONResponse:
    return problem(INTERNAL)  # the error itself goes on to the guard, which logs it


def _describe_problems(app: FastAPI) -> None:
    describe: Callable[[], dict[str, Any]] = app.openapi

    def openapi() -> dict[str, Any]:
        document = describe()
        document["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        return document

    app.openapi = openapi  # type: ignore[method-assign]
