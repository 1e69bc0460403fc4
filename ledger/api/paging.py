"""Long lists a page at a time. A cursor says after which item to go on, so that new items don't move a page."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Annotated, Final, TypeVar

from fastapi import Query

from ledger.api import schemas as s
from ledger.api.telling import Teller

MOST: Final = 200
USUAL: Final = 50
T = TypeVar("T")
U = TypeVar("U")

Limit = Annotated[int, Query(ge=1, le=MOST, description="Most items on the page.")]
_GO_ON = "`next` of the page before."
Cursor = Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$", description=_GO_ON)]
EventCursor = Annotated[str | None, Query(pattern=r"^[0-9]{1,18}\.[0-9]{1,9}$", description=_GO_ON)]


def page(teller: Teller, items: Sequence[T], cursor: str | None, limit: int, tell: Callable[[T], U]) -> s.Page[U]:
    """Give a page of a list that only grows at its end; the cursor is how many items came before."""
    start = number(cursor)
    chosen = items[start : start + limit]
    following = str(start + limit) if start + limit < len(items) else None
    return s.Page(items=[tell(item) for item in chosen], next=following, head=teller.head())


def page_of(teller: Teller, items: Iterable[T], cursor: str | None, limit: int, tell: Callable[[T], U]) -> s.Page[U]:
    """Give a page of what only an iteration gives, without making all of it."""
    start = number(cursor)
    chosen = list(islice(items, start, start + limit + 1))
    following = str(start + limit) if len(chosen) > limit else None
    return s.Page(items=[tell(item) for item in chosen[:limit]], next=following, head=teller.head())


def number(cursor: str | None) -> int:
    """Read the cursor of a list in memory."""
    return int(cursor) if cursor is not None else 0


def place(cursor: str | None) -> tuple[int, int] | None:
    """Read the cursor of a list of events."""
    if cursor is None:
        return None
    block, _, index = cursor.partition(".")
    return int(block), int(index)
