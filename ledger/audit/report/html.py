"""The report as one HTML file: no script, nothing loaded from anywhere, readable on a phone and on paper."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, StrictUndefined, Template

_COLOURS: Final = {"holds": "#1b7f4b", "broken": "#b3261e", "not decidable": "#9a6700"}


def when(timestamp: int | None) -> str:
    """Spell a block's time."""
    if timestamp is None:
        return "-"
    try:
        return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return str(timestamp)


def visible(text: object) -> str:
    """Replace what reorders a line or hides: names come from the ledger, where anybody may write them."""
    return "".join(mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in str(text))


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(when=when, visible=visible)
    source = files("ledger").joinpath("audit", "report", "report.html").read_text(encoding="utf-8")
    return environment.from_string(source)


def render(summary: Mapping[str, Any]) -> str:
    """Render a summary."""
    return _template().render(**summary, colours=_COLOURS, lines=timeline(summary["rounds"]), leaders=draws(summary))


def timeline(rounds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Place every round's bar between the first round's beginning and the last one's end, in percent."""
    ends = [one["ended"] or one["opened"] for one in rounds]
    first, last = min((one["opened"] for one in rounds), default=0), max(ends, default=0)
    span = max(1, last - first)
    return [
        {
            **one,
            "left": round(100 * (one["opened"] - first) / span, 2),
            "width": max(0.6, round(100 * (end - one["opened"]) / span, 2)),
            "faults": [term for term in one["terms"] if term["fault"]],
            "leader": one["terms"][-1]["leader"] if one["terms"] else "-",
        }
        for one, end in zip(rounds, ends, strict=True)
    ]


def draws(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How often each site was drawn as leader, beside what chance lets expect, in percent of the most."""
    figures: Mapping[str, Any] = next((rule["figures"] for rule in summary["rules"] if rule["rule"] == "fairness"), {})
    most = max((max(one["drawn"], one["expected"]) for one in figures.values()), default=1) or 1
    return [
        {**one, "bar": round(100 * one["drawn"] / most, 1), "mark": round(100 * one["expected"] / most, 1)}
        for one in figures.values()
    ]
