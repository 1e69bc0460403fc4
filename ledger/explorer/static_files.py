"""What the pages need besides themselves: styles, scripts and an icon, from the wheel and from memory."""

import hashlib
from functools import cache
from pathlib import PurePosixPath
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ledger.api.problems import not_found
from ledger.explorer.rendering import FOLDER

TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@cache
def files() -> dict[str, bytes]:
    """Read every file once, by its name."""
    return {path.name: path.read_bytes() for path in sorted((FOLDER / "static").iterdir()) if path.suffix in TYPES}


def static_file(request: Request, name: str) -> Response:
    """Give a file by its exact name: a name is looked up, and never becomes a path."""
    content = files().get(name)
    if content is None:
        raise not_found("such file")
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": "max-age=300"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    kind = TYPES[PurePosixPath(name).suffix]
    return Response(content, media_type=f"{kind}; charset=utf-8", headers=headers)
