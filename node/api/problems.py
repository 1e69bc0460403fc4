"""Errors as one envelope (application/problem+json, RFC 9457) with a stable code, and nothing of the insides."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """What went wrong: `code` is stable and for programs, `detail` is for people."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Unauthorized",
                    "status": 401,
                    "code": "api.token_invalid",
                    "detail": "the token is not valid: it has expired",
                    "fields": {},
                }
            ]
        }
    )

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    fields: dict[str, str] = Field(default={}, description="What is wrong with which part of the request.")


class Refused(Exception):
    """Ends a request with a problem."""

    def __init__(self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})


def problem(refused: Refused, fields: Mapping[str, str] | None = None) -> JSONResponse:
    """Make the response."""
    body = Problem(
        title=HTTPStatus(refused.status).phrase,
        status=refused.status,
        code=refused.code,
        detail=refused.detail,
        fields=dict(fields or {}),
    )
    return JSONResponse(body.model_dump(), status_code=refused.status, headers=refused.headers, media_type=MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Name the problems that an endpoint may answer with, for its description."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in sorted(statuses)}


UNAVAILABLE = Refused(503, "api.unavailable", "the site does not answer; its log may say why")
INTERNAL = Refused(500, "api.internal", "an unexpected error; the site's log has it")
NOT_FOUND = Refused(404, "api.not_found", "there is nothing of that name or number")
