"""The report: complete, always the same, and deaf to what strangers wrote."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from forgery import Forge, head_of

from ledger import events as e
from ledger.audit.audit import audit
from ledger.audit.bundle.content import Bundle
from ledger.audit.report import html, pdf
from ledger.audit.report.summary import summarise

FONTS = Path(matplotlib.get_data_path(), "fonts", "ttf")


@pytest.fixture
def summary(bundle: Bundle, anchor: bytes) -> dict[str, Any]:
    return summarise(audit(bundle, anchor=anchor), anchor=anchor, digest="d" * 64)


def test_a_summary_is_plain_json(summary: dict[str, Any]) -> None:
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_a_summary_tells_who_took_part_and_what_went_wrong(summary: dict[str, Any]) -> None:
    assert {site["name"] for site in summary["sites"]} == {"Kiel", "Lübeck", "Jena", "Bonn", "Ulm"}
    assert [site["name"] for site in summary["sites"] if site["withdrawn"]] == ["Lübeck"]
    first, second = summary["rounds"][1:3]
    assert [term["fault"] for term in first["terms"]] == ["merge timeout", None]
    assert [term["fault"] for term in second["terms"]] == ["rejected", None]
    assert [left["reason"] for left in second["left_out"]] == ["over clip"]


def test_a_summary_puts_figures_into_words(summary: dict[str, Any]) -> None:
    details = {rule["rule"]: rule["details"] for rule in summary["rules"]}
    assert "Jena committed 3 of 4 times" in details["absence"]
    assert any("over_clip (1 times)" in line for line in details["exclusions"])
    assert len(details["fairness"]) == 5


def test_the_page_loads_nothing_and_runs_nothing(summary: dict[str, Any]) -> None:
    page = html.render(summary)
    assert "<script" not in page
    assert re.findall(r"(?:src|href)\s*=|url\(|@import|https?://", page) == []
    assert "default-src 'none'" in page


def test_the_page_names_every_rule_and_site(summary: dict[str, Any]) -> None:
    page = html.render(summary)
    assert all(f'<th scope="row">{rule["rule"]}</th>' in page for rule in summary["rules"])
    assert all(site["name"] in page and site["account"] in page for site in summary["sites"])
    assert summary["study"]["final_model"] in page


def test_a_name_that_is_a_script_is_text(bundle: Bundle) -> None:
    evil = "<script>alert(1)</script>\u202e"
    forge = Forge(bundle)
    first = forge.first(e.SiteAdmitted)
    forged = forge.edit(e.SiteAdmitted, lambda one: replace(one, name=evil), lambda one: one is first).forged()
    summary = summarise(audit(forged, anchor=head_of(forged)), anchor=None)
    page = html.render(summary)
    assert "<script" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;" in page
    assert pdf.render(summary, FONTS).startswith(b"%PDF")


@pytest.mark.parametrize("fonts", [FONTS, None])
def test_a_pdf_is_always_the_same(fonts: Path | None, summary: dict[str, Any]) -> None:
    made = pdf.render(summary, fonts)
    assert made.startswith(b"%PDF")
    assert made == pdf.render(summary, fonts)


def test_a_study_that_nobody_proposed_is_reported_too(bundle: Bundle, anchor: bytes) -> None:
    summary = summarise(audit(replace(bundle, study=99), anchor=anchor), anchor=anchor)
    assert summary["conclusion"] == "broken"
    assert "99" in html.render(summary)
    assert pdf.render(summary).startswith(b"%PDF")


def test_a_thousand_rounds_fit_a_report(summary: dict[str, Any]) -> None:
    many = {**summary, "rounds": summary["rounds"] * 250}
    assert html.render(many).count('<div class="line">') >= 1000
    assert pdf.render({**many, "rounds": many["rounds"][:300]}).startswith(b"%PDF")
