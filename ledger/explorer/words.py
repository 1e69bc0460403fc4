"""Values as a reader sees them. What strangers wrote is hostile: it can't act, hide or reorder anything on a page."""

from datetime import UTC, datetime
from typing import Final

from markupsafe import Markup, escape

from ledger.api import schemas as s

MOST_TEXT: Final = 300
_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def legible(text: str, most: int = MOST_TEXT) -> str:
    """Replace control characters and marks that reorder a line, and cut what is too long; escaping comes after."""
    one_line = " ".join(text[: 4 * most].replace("\t", " ").split("\n"))[: most + 1]
    shown = "".join(mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in one_line)
    return shown if len(shown) <= most else shown[:most] + "\N{HORIZONTAL ELLIPSIS}"


def said(text: str) -> Markup:
    """Show what somebody wrote, apart from the line around it."""
    return Markup("<bdi>{}</bdi>").format(legible(text))


def name(site: s.Site | None) -> Markup:
    """Show a site's name; somebody without one by the account."""
    if site is None:
        return Markup("&ndash;")
    return said(site.name or short(site.account))


def site_link(site: s.Site | None) -> Markup:
    """Link to a site's page, where it ever was a member."""
    if site is None or not site.name:
        return name(site)
    return Markup('<a class="site" href="/sites/{}">{}</a>').format(site.account, name(site))


def short(digest: str | None) -> str:
    """Show the two ends of a hash or an account."""
    if not digest:
        return "\N{EN DASH}"
    return digest if len(digest) <= 15 else f"{digest[:8]}\N{HORIZONTAL ELLIPSIS}{digest[-6:]}"


def hash_link(digest: str | None) -> Markup:
    """Link to what a hash is."""
    if not digest:
        return Markup("&ndash;")
    return Markup('<a class="hash" href="/hashes/{}" title="{}">{}</a>').format(digest, digest, short(digest))


def when(timestamp: int | None) -> Markup:
    """Show a time, in UTC as the chain has it."""
    if timestamp is None:
        return Markup("&ndash;")
    at = _moment(timestamp)
    if at is None:
        return escape(f"second {timestamp}")
    return Markup('<time datetime="{}">{}</time>').format(at.strftime("%Y-%m-%dT%H:%M:%SZ"), clock(timestamp))


def clock(timestamp: int) -> str:
    """Spell a time as plain text."""
    at = _moment(timestamp)
    return at.strftime("%-d %b %Y, %H:%M:%S") if at is not None else f"second {timestamp}"


def _moment(timestamp: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(timestamp, UTC)
    except (ValueError, OverflowError, OSError):  # a chain may claim any time
        return None


def span(seconds: float | None) -> str:
    """Spell how long something took, with its two largest units."""
    if seconds is None:
        return "\N{EN DASH}"
    left = max(0, round(seconds))
    parts: list[str] = []
    for length, unit in _UNITS:
        if left >= length or (unit == "s" and not parts):
            parts.append(f"{left // length} {unit}")
            left %= length
        if len(parts) == 2:
            break
    return " ".join(part for at, part in enumerate(parts) if at == 0 or not part.startswith("0 "))


def number(value: float) -> str:
    """Spell a number with its thousands apart, and no more digits than it needs."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def plural(count: int, one: str, many: str = "") -> str:
    """Count things."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
