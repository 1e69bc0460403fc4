"""The report as PDF, by ReportLab, which needs nothing that isn't on PyPI."""

from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

from reportlab.graphics.shapes import Drawing, Line, Rect, String
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFError, TTFont
from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from ledger.audit.report.html import draws, timeline, visible, when

_COLOURS: Final = {"holds": "#1b7f4b", "broken": "#b3261e", "not decidable": "#9a6700", "unproven": "#9a6700"}
_WIDTH: Final = 180 * mm
_LABEL: Final = 70.0
_ROW: Final = 12.0
_MOST_ROUNDS: Final = 60
"""Rounds in the picture of the timeline; the table has all."""


def render(summary: Mapping[str, Any], fonts: Path | None = None) -> bytes:
    """Render a summary; `fonts` is a folder with DejaVuSans.ttf and -Bold, for names in any script.

    The same summary gives the same bytes.
    """
    plain, bold = _fonts(fonts)
    styles = _Styles(plain, bold)
    target = BytesIO()
    study = summary["study"]
    title = f"Audit of study {study['number']}: {visible(study['name'])}" if study else "Audit"
    margin = 15 * mm
    document = SimpleDocTemplate(
        target,
        pagesize=A4,
        title=title,
        invariant=1,
        leftMargin=margin,
        rightMargin=margin,
        topMargin=margin,
        bottomMargin=margin,
    )
    document.build(list(_story(summary, title, styles)))
    return target.getvalue()


def _fonts(folder: Path | None) -> tuple[str, str]:
    if folder is None:
        return "Helvetica", "Helvetica-Bold"
    try:
        for name in ("DejaVuSans", "DejaVuSans-Bold"):
            pdfmetrics.registerFont(TTFont(name, str(folder / f"{name}.ttf")))
    except (TTFError, OSError):
        return "Helvetica", "Helvetica-Bold"
    return "DejaVuSans", "DejaVuSans-Bold"


class _Styles:
    """How paragraphs look."""

    def __init__(self, plain: str, bold: str) -> None:
        self.font, self.bold = plain, bold
        self.text = ParagraphStyle("text", fontName=plain, fontSize=8, leading=10.5, splitLongWords=1)
        self.title = ParagraphStyle("title", parent=self.text, fontName=bold, fontSize=15, leading=19)
        self.heading = ParagraphStyle(
            "heading", parent=self.text, fontName=bold, fontSize=11, leading=15, spaceBefore=10, keepWithNext=1
        )

    def says(self, text: object, colour: str = "#1d2330") -> Paragraph:
        """Give a cell's text."""
        return Paragraph(f'<font color="{colour}">{escape(visible(text))}</font>', self.text)


def _story(summary: Mapping[str, Any], title: str, styles: _Styles) -> Iterator[Any]:
    yield Paragraph(escape(title), styles.title)
    yield Spacer(1, 4)
    yield styles.says(summary["sentence"], _COLOURS[summary["conclusion"]])
    yield Paragraph("What was checked", styles.heading)
    yield _table(_rules(summary, styles), (28 * mm, 24 * mm, 128 * mm), styles)
    yield Paragraph("Provenance", styles.heading)
    yield _table(_provenance(summary, styles), (40 * mm, 140 * mm), styles, head=False)
    yield Paragraph("Participants", styles.heading)
    yield _table(_sites(summary, styles), tuple(one * mm for one in (30, 62, 42, 16, 14, 16)), styles)
    yield Paragraph("Timeline", styles.heading)
    yield _timeline(timeline(summary["rounds"])[:_MOST_ROUNDS], styles)
    yield Paragraph("Leadership: how often each site was drawn; the line is what chance lets expect", styles.heading)
    yield _leaders(draws(summary), styles)
    yield Paragraph("Rounds", styles.heading)
    yield _table(_rounds(summary, styles), tuple(one * mm for one in (13, 30, 34, 65, 38)), styles)


def _table(rows: list[list[Any]], widths: tuple[float, ...], styles: _Styles, *, head: bool = True) -> Table:
    table = Table(rows, colWidths=widths, repeatRows=1 if head else 0)
    table.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LINEBELOW", (0, 0), (-1, -1), 0.4, HexColor("#d7dbe3")),
                ("FONTNAME", (0, 0), (-1, -1), styles.font),
            ]
        )
    )
    return table


def _head(styles: _Styles, *names: str) -> list[Any]:
    return [styles.says(name, "#566073") for name in names]


def _rules(summary: Mapping[str, Any], styles: _Styles) -> list[list[Any]]:
    rows = [_head(styles, "rule", "verdict", "what it checks, and what it found")]
    for rule in summary["rules"]:
        found = "".join(f" - {one['what']}" for one in rule["broken"][1:5])
        details = f" ({'; '.join(rule['details'])})" if rule["details"] else ""
        says = f"{rule['checks']} Found: {rule['says']}{found}{details}"
        rows.append(
            [styles.says(rule["rule"]), styles.says(rule["outcome"], _COLOURS[rule["outcome"]]), styles.says(says)]
        )
    return rows


def _provenance(summary: Mapping[str, Any], styles: _Styles) -> list[list[Any]]:
    study, about = summary["study"] or {}, summary["provenance"]
    rows = {
        "specification": study.get("specification"),
        "initial model": study.get("initial_model"),
        "final model": study.get("final_model"),
        "model file given": study.get("model_file"),
        "chain, genesis": f"{about['chain_id']}, {about['genesis']}",
        "consortium contract": about["consortium_contract"],
        "study contract": about["study_contract"],
        "blocks": f"{about['first_block']} to {about['last_block']}, {about['last_hash']}",
        "block hash given": about["block_given"] or "none",
        "bundle": about["bundle"],
    }
    return [[styles.says(name, "#566073"), styles.says(value or "-")] for name, value in rows.items()]


def _sites(summary: Mapping[str, Any], styles: _Styles) -> list[list[Any]]:
    rows = [_head(styles, "site", "account", "consent", "merged", "led", "epsilon")]
    for site in summary["sites"]:
        consent = (
            f"{when(site['accepted'])}, from round {site['from_round']}{'; withdrew' if site['withdrawn'] else ''}"
        )
        cells = site["name"], site["account"], consent, site["merged"], site["led"], site["epsilon"]
        rows.append([styles.says(cell) for cell in cells])
    return rows


def _rounds(summary: Mapping[str, Any], styles: _Styles) -> list[list[Any]]:
    rows = [_head(styles, "round", "led by", "merged", "output", "what went wrong")]
    for one in timeline(summary["rounds"]):
        wrong = [f"{term['leader']} failed: {term['fault']}" for term in one["faults"]]
        wrong += [f"{left['site']} left out: {left['reason']}" for left in one["left_out"]]
        cells = one["round"], one["leader"], ", ".join(one["merged"]), one["output"] or "-", "; ".join(wrong) or "-"
        rows.append([styles.says(cell) for cell in cells])
    return rows


def _timeline(lines: list[dict[str, Any]], styles: _Styles) -> Drawing:
    drawing = Drawing(_WIDTH, max(_ROW, _ROW * len(lines)))
    room = (_WIDTH - _LABEL) / 100
    for index, one in enumerate(reversed(lines)):
        colour = _COLOURS["broken"] if one["faults"] else "#3b6fb6"
        drawing.add(_label(f"round {one['round']}", index, styles))
        drawing.add(
            Rect(
                _LABEL + one["left"] * room,
                index * _ROW + 1,
                one["width"] * room,
                _ROW - 4,
                fillColor=HexColor(colour),
                strokeColor=None,
            )
        )
    return drawing


def _leaders(lines: list[dict[str, Any]], styles: _Styles) -> Drawing:
    drawing = Drawing(_WIDTH, max(_ROW, _ROW * len(lines)))
    room = (_WIDTH - 2 * _LABEL) / 100
    for index, one in enumerate(reversed(lines)):
        base = index * _ROW
        drawing.add(_label(visible(one["name"])[:14], index, styles))
        drawing.add(
            Rect(_LABEL, base + 1, one["bar"] * room, _ROW - 4, fillColor=HexColor("#3b6fb6"), strokeColor=None)
        )
        mark = _LABEL + one["mark"] * room
        drawing.add(Line(mark, base, mark, base + _ROW - 2, strokeColor=HexColor("#1d2330"), strokeWidth=1))
        text = f"{one['drawn']} of {one['elections']}, {one['expected']:.1f} expected"
        drawing.add(String(_WIDTH - _LABEL + 2, base + 2, text, fontName=styles.font, fontSize=6))
    return drawing


def _label(text: str, index: int, styles: _Styles) -> String:
    return String(0, index * _ROW + 2, text, fontName=styles.font, fontSize=7)
