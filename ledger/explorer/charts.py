"""Charts as shapes in a box of 520 by 200, which a template writes as SVG: no style, no script, nothing from afar."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil, floor, log10
from typing import Final

from ledger.api import schemas as s
from ledger.explorer.series import Point
from ledger.explorer.words import legible, number, plural, span

WIDTH: Final = 520
HEIGHT: Final = 200
LEFT: Final = 66
RIGHT: Final = 8
TOP: Final = 14
BOTTOM: Final = 26
_INNER: Final = HEIGHT - TOP - BOTTOM
_ACROSS: Final = WIDTH - LEFT - RIGHT
_LINES: Final = _ACROSS - 90
"""How far lines go that have their name at their end."""
COLOURS: Final = 8


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle of a class of marks."""

    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Spot:
    """What a reader can point at: a stripe of the chart, or move to with the arrow keys, and what it says."""

    x: float
    width: float
    said: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points, as an SVG path, with its name where it ends."""

    kind: str
    path: str
    label: str = ""
    label_y: float = 0.0


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with its name, what it shows in a sentence, a legend, and the same numbers as a table."""

    name: str
    title: str
    says: str
    bars: tuple[Bar, ...] = ()
    lines: tuple[Line, ...] = ()
    marks: tuple[tuple[float, float], ...] = ()
    spots: tuple[Spot, ...] = ()
    down: tuple[Tick, ...] = ()
    across: tuple[Tick, ...] = ()
    legend: tuple[tuple[str, str], ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = field(default=())


def taking_part(points: Sequence[Point]) -> Chart:
    """Draw how many sites were merged, left out or absent in each round, and where leaders failed."""
    most = max((one.merged + one.left_out + one.absent for one in points), default=1) or 1
    top, bars, spots, marks = _nice(most), [], [], []
    for at, one in enumerate(points):
        x, width = _column(at, len(points))
        low = 0.0
        for kind, value in (("merged", one.merged), ("left-out", one.left_out), ("absent", one.absent)):
            if value:
                bars.append(Bar(kind, x, _y(low + value, top), width, _INNER * value / top))
                low += value
        if one.faults:
            marks.append((x + width / 2, max(8.0, _y(low, top) - 4)))
        spots.append(Spot(x, width, _said(one)))
    return Chart(
        name="sites",
        title="Who took part",
        says="Sites whose update is in the model, left out by the leader with a reason, or absent.",
        bars=tuple(bars),
        marks=tuple(marks),
        spots=tuple(spots),
        down=_ticks(top, whole=True),
        across=_rounds(points),
        legend=(("merged", "merged"), ("left-out", "left out"), ("absent", "absent"), ("fault", "a leader failed")),
        columns=("rounds", "merged", "left out", "absent", "leaders that failed"),
        rows=tuple(
            (one.rounds, number(one.merged), number(one.left_out), number(one.absent), str(one.faults))
            for one in points
        ),
    )


def lasting(points: Sequence[Point]) -> Chart:
    """Draw how long rounds took."""
    return _curve(
        points,
        "seconds",
        "How long a round took",
        "From its opening to its final model. A peak is a leader that failed, or sites that were waited for.",
        lambda one: one.seconds,
        span,
    )


def behind(points: Sequence[Point]) -> Chart:
    """Draw how many training records are behind the models."""
    return _curve(
        points,
        "weight",
        "Training records behind each model",
        "The sum of what the merged sites told, each up to the study's weight cap.",
        lambda one: one.weight,
        lambda value: number(round(value)),
    )


def budget(privacy: s.Privacy) -> Chart:
    """Draw what is left of each site's privacy budget, commit by commit."""
    last = max((point[0] for site in privacy.sites for point in site.points), default=1)
    top = privacy.epsilon_budget
    ends = _apart([_y(max(0.0, top - site.epsilon_spent), top) for site in privacy.sites])
    lines = []
    for at, site in enumerate(privacy.sites):
        path, x = f"M{LEFT} {_y(top, top):.1f}", float(LEFT)
        for round_, spent in _thinned(site.points):
            x = LEFT + _LINES * round_ / max(last, 1)
            path += f"H{x:.1f}V{_y(max(0.0, top - spent), top):.1f}"
        lines.append(Line(f"site-{at % COLOURS}", path, legible(site.site.name, 14), ends[at] + 4))
    return Chart(
        name="budget",
        title="Privacy budget that is left",
        says="Epsilon of differential privacy: each update spends some of it, and the ledger refuses a commit past it.",
        lines=tuple(lines),
        down=_ticks(top),
        across=(Tick(LEFT, "start"), Tick(LEFT + _LINES, f"round {last}")),
        columns=("site", "epsilon spent", "epsilon left"),
        rows=tuple(
            (legible(one.site.name), number(one.epsilon_spent), number(max(0.0, top - one.epsilon_spent)))
            for one in privacy.sites
        ),
    )


def leading(sites: Sequence[s.SiteInStudy]) -> list[tuple[s.SiteInStudy, float, float]]:
    """Give each site with the lengths of its bars, from 0 to 100: rounds led, and terms that failed."""
    most = max((one.led + one.faults for one in sites), default=1) or 1
    return [(one, 100 * one.led / most, 100 * one.faults / most) for one in sites]


def _curve(
    points: Sequence[Point],
    name: str,
    title: str,
    says: str,
    value_of: Callable[[Point], float | None],
    spell: Callable[[float], str],
) -> Chart:
    values = [(at, one, value) for at, one in enumerate(points) if (value := value_of(one)) is not None]
    top = _nice(max((value for _, _, value in values), default=1.0) or 1.0)
    spots, path, area = [], "", ""
    for at, one, value in values:
        x, width = _column(at, len(points))
        spots.append(Spot(x, width, f"{one.rounds}: {spell(value)}"))
        path += f"{'L' if path else 'M'}{x + width / 2:.1f} {_y(value, top):.1f}"
    if values:
        start, end = (_column(at, len(points)) for at in (values[0][0], values[-1][0]))
        floor_ = TOP + _INNER
        area = f"{path}L{end[0] + end[1] / 2:.1f} {floor_}L{start[0] + start[1] / 2:.1f} {floor_}Z"
    return Chart(
        name=name,
        title=title,
        says=says,
        lines=(Line("area", area), Line("curve", path)) if path else (),
        spots=tuple(spots),
        down=tuple(Tick(_y(part * top, top), spell(part * top)) for part in (0, 0.5, 1)),
        across=_rounds(points),
        columns=("rounds", title.lower()),
        rows=tuple((one.rounds, spell(value)) for _, one, value in values),
    )


def _said(one: Point) -> str:
    parts = [f"{number(one.merged)} merged"]
    parts += [f"{number(one.left_out)} left out"] if one.left_out else []
    parts += [f"{number(one.absent)} absent"] if one.absent else []
    parts += [f"{plural(one.faults, 'leader')} failed ({one.said})"] if one.faults else []
    return f"{one.rounds}: {', '.join(parts)}"


def _column(at: int, count: int) -> tuple[float, float]:
    """Where a column begins, and how wide it is."""
    step = _ACROSS / max(count, 1)
    width = min(step * 0.8, 34.0)
    return round(LEFT + step * at + (step - width) / 2, 1), round(width, 1)


def _y(value: float, top: float) -> float:
    return round(TOP + _INNER * (1 - value / top), 1) if top else float(TOP + _INNER)


def _nice(most: float) -> float:
    """Round up to a number that people like on an axis."""
    size = 10.0 ** floor(log10(most))
    return next(size * step for step in (1, 2, 3, 4, 5, 6, 8, 10) if size * step >= most * 0.999)


def _ticks(top: float, *, whole: bool = False) -> tuple[Tick, ...]:
    steps = min(4, ceil(top)) if whole else 4
    values = [top * at / steps for at in range(steps + 1)]
    chosen = [value for value in values if not whole or value == round(value)]
    return tuple(Tick(_y(value, top), number(round(value) if whole else value)) for value in chosen)


def _rounds(points: Sequence[Point]) -> tuple[Tick, ...]:
    if not points:
        return ()
    every = max(1, ceil(len(points) / 8))
    columns = [(_column(at, len(points)), one) for at, one in enumerate(points) if at % every == 0]
    return tuple(Tick(x + width / 2, str(one.first)) for (x, width), one in columns)


def _thinned(points: Sequence[tuple[int, float]]) -> Sequence[tuple[int, float]]:
    """Leave out what can't be seen."""
    every = max(1, len(points) // 200)
    return [one for at, one in enumerate(points) if at % every == 0 or at == len(points) - 1]


def _apart(places: Sequence[float]) -> list[float]:
    """Move labels that would lie on each other."""
    moved = list(places)
    last = float("-inf")
    for at in sorted(range(len(places)), key=lambda one: places[one]):
        moved[at] = last = max(places[at], last + 14)
    over = max((one - (TOP + _INNER) for one in moved), default=0.0)
    return [one - over for one in moved] if over > 0 else moved
