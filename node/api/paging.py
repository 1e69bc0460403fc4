"""Long lists a page at a time: a cursor is the number of the last item that was given."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")

MOST = 100
USUAL = 20


def page(
    items: Mapping[int, T], after: int | None, limit: int, *, newest_first: bool = False
) -> tuple[list[T], int | None]:
    """The items that follow the one with number `after`, and the cursor of the next page; None on the last one."""
    numbers = sorted(items, reverse=newest_first)
    following = [number for number in numbers if after is None or (number < after if newest_first else number > after)]
    chosen = following[:limit]
    return [items[number] for number in chosen], chosen[-1] if len(following) > len(chosen) else None


def last(entries: Sequence[T], most: int) -> list[T]:
    """The newest of a list that has no bound of its own."""
    return list(entries[-most:])
