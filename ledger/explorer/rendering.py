"""From a template to an answer."""

from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from ledger.api.telling import Teller
from ledger.explorer import words

FOLDER: Final = Path(__file__).resolve().parent


@cache
def environment() -> Environment:
    """The templates: everything is escaped, and a name that isn't there is an error."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    filters = ("said", "name", "site_link", "short", "hash_link", "when", "span", "number", "legible")
    made.filters.update({one: getattr(words, one) for one in filters})
    made.globals["plural"] = words.plural
    return made


def show(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Answer with a page. It says up to which block it is true, and what to listen for."""
    teller = Teller(request.scope["snapshot"])
    text = (
        environment()
        .get_template(template)
        .render(path=request.url.path, query=request.query_params.get("q", ""), about=teller.status(), **values)
    )
    return HTMLResponse(text, status)
