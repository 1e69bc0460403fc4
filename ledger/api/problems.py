"""Errors as one envelope (application/problem+json, RFC 9457) with a stable code, and nothing of the insides."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel, ConfigDict
from starlette.responses import JSONResponse

MEDIA_TYPE: Final = "application/problem+json"


class Problem(BaseModel):
    """What went wrong: `code` is stable and for programs, `detail` is for people."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Not Found",
                    "status": 404,
                    "code": "audit_api.not_found",
                    "detail": "there is no study 7 on the ledger",
                }
            ]
        }
    )

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str


class Refused(Exception):
    """Ends a request with a problem."""

    def __init__(self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})


def problem(refused: Refused) -> JSONResponse:
    """Make the response."""
    title = HTTPStatus(refused.status).phrase
    body = Problem(title=title, status=refused.status, code=refused.code, detail=refused.detail)
    return JSONResponse(body.model_dump(), refused.status, refused.headers, media_type=MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Name the problems that an endpoint may answer with, for its description."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in sorted(statuses)}


def not_found(what: str) -> Refused:
    """Say that there is no such thing."""
    return Refused(404, "audit_api.not_found", f"there is no {what} on the ledger")
