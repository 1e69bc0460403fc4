"""The explorer's pages as a browser without JavaScript gets them."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from urllib.parse import urljoin, urlsplit

import pytest
from conftest import HOSTILE
from serving import Explorer, served
from story import HOSPITALS, Story, troubled_study

from ledger import events
from ledger.api.routes import KINDS
from ledger.api.telling import Teller
from ledger.explorer import charts, words
from ledger.explorer.sentences import sentence
from ledger.explorer.series import MOST_POINTS, points_of

MAX_PAGE_BYTES = 200_000
VOID = {"meta", "link", "input", "br"}
PAGES = (
    "/",
    "/studies",
    "/studies/1",
    "/studies/1?trouble=true",
    "/studies/1/rounds/3",
    "/studies/1/rounds/6",
    "/studies/1/family",
    "/studies/1/rules",
    "/studies/1/agreement",
    "/studies/2",
    "/studies/3",
    "/studies/3/rounds/2",
    "/consortium",
    "/check",
    "/check?hash=12",
    "/search?q=kiel",
    "/search",
    "/journal",
    "/journal?study=1&round=3",
    "/journal?kind=LeaderFailed&study=",
    "/journal?kind=&study=2",
    "/glossary",
    "/nothing",
    "/studies/77",
)


class Page(HTMLParser):
    """What a page is made of: its tags with their attributes, balanced or not, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.text = ""
        self.feed(text)
        self.wrong += self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        self.text += data

    def with_tag(self, *names: str) -> Iterator[dict[str, str | None]]:
        return (attributes for tag, attributes in self.tags if tag in names)


def page_of(explorer: Explorer, path: str) -> Page:
    answer = explorer.client.get(path)
    assert answer.headers["content-type"].startswith("text/html"), path
    return Page(answer.text)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_whole_small_and_brings_nothing_from_outside(explorer: Explorer, path: str) -> None:
    answer = explorer.client.get(path)
    page = Page(answer.text)
    assert page.wrong == []
    assert len(answer.content) < MAX_PAGE_BYTES
    for attributes in page.with_tag(*{tag for tag, _ in page.tags}):
        for name in ("src", "href", "action"):
            target = attributes.get(name) or "/"
            assert target.startswith(("/", "#")), target
        assert not any(name.startswith("on") or name == "style" for name in attributes)
    assert [one for one in page.with_tag("script") if "src" not in one] == []
    assert not list(page.with_tag("style"))


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_the_landmarks_and_names_that_screen_readers_go_by(explorer: Explorer, path: str) -> None:
    page = page_of(explorer, path)
    assert [one["lang"] for one in page.with_tag("html")] == ["en"]
    assert sum(tag == "h1" for tag, _ in page.tags) == 1
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert sum(tag == "main" for tag, _ in page.tags) == 1
    assert sum(tag == "table" for tag, _ in page.tags) == sum(tag == "caption" for tag, _ in page.tags)
    labels = {one.get("for") for one in page.with_tag("label")}
    assert {one["id"] for one in page.with_tag("input", "select") if one.get("type") != "hidden"} <= labels
    assert all(one.get("aria-label") or one.get("aria-labelledby") for one in page.with_tag("nav"))
    ids = [one["id"] for _, one in page.tags if "id" in one]
    assert len(ids) == len(set(ids))
    assert page.text.split("\N{MIDDLE DOT}")[0].strip()


def test_every_link_leads_somewhere(explorer: Explorer) -> None:
    seen, waiting = set(), ["/", "/studies/1", "/studies/3"]
    while waiting and len(seen) < 250:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = explorer.client.get(path)
        assert answer.status_code == 200, path
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        for attributes in Page(answer.text).with_tag("a", "link", "script"):
            target = urlsplit(urljoin(path, attributes.get("href") or attributes.get("src") or "/"))
            waiting.append(target.path + (f"?{target.query}" if target.query else ""))
    assert len(seen) > 100


@pytest.mark.parametrize(
    "path", ["/", "/studies/1", "/studies/1/family", "/consortium", "/journal", "/search?q=script"]
)
def test_what_strangers_wrote_does_nothing_to_a_page(explorer: Explorer, path: str) -> None:
    text = explorer.client.get(path).text
    assert HOSTILE not in text
    assert "&lt;script&gt;" in text
    for mark in ("\u202e", "\x1b"):
        assert mark not in text


def test_hostile_words_in_the_address_do_nothing_either(explorer: Explorer) -> None:
    for path in ("/search", "/check"):
        text = explorer.client.get(path, params={"q": HOSTILE, "hash": HOSTILE}).text
        assert HOSTILE not in text
    assert "<script>" not in explorer.client.get("/<script>alert(1)</script>").text


def test_a_study_tells_what_went_wrong_and_who_took_over(explorer: Explorer) -> None:
    text = " ".join(page_of(explorer, "/studies/1?trouble=true").text.split())
    assert "failed as the leader: it published nothing before its deadline." in text
    assert "failed as the leader: the others recomputed its output and rejected it." in text
    assert "took over, and the round became final." in text
    assert re.search(r"was left out: (nobody gave bytes of its hash|it was larger than)", text)
    assert "committed nothing." in text


def test_a_study_says_that_no_accuracy_is_on_the_ledger(explorer: Explorer) -> None:
    assert "put no accuracy on the ledger" in page_of(explorer, "/studies/1").text
    assert "no differential-privacy budget" in page_of(explorer, "/studies/1").text
    assert "Privacy budget that is left" in page_of(explorer, "/studies/2").text


def test_a_fingerprint_is_looked_up_without_javascript(explorer: Explorer) -> None:
    final = explorer.service.view.snapshot.studies[1].final_output.hex()
    text = " ".join(page_of(explorer, f"/check?hash=0x{final}").text.split())
    assert "This is the final model of study 1" in text
    assert "The ledger does not know this" in page_of(explorer, f"/hashes/{'ab' * 32}").text
    assert "That is no fingerprint" in page_of(explorer, "/check?hash=zz").text


def test_provisional_blocks_are_marked(explorer: Explorer) -> None:
    page = page_of(explorer, "/journal?study=3")
    assert "provisional" in page.text
    assert "are provisional: the chain may yet replace them" in page.text


def test_every_kind_of_event_has_a_sentence(explorer: Explorer) -> None:
    teller = Teller(explorer.service.view.snapshot)
    told = {}
    for event in explorer.service.queries.all_events():
        told[type(event).__name__] = str(sentence(teller, event))
    assert all(name not in text for name, text in told.items())
    assert set(told) <= set(KINDS)
    assert set(told) >= {"UpdateCommitted", "LeaderFailed", "OutputRejected", "SiteRemoved", "StudyFinished"}
    assert all(issubclass(getattr(events, name), events.Event) for name in KINDS)


@pytest.fixture(scope="module")
def long_study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explorer]:
    story = Story(names=HOSPITALS[:3])
    troubled_study(story, 1000)
    with served(story, tmp_path_factory.mktemp("long")) as explorer:
        yield explorer


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/studies/1", "/studies/1/family", "/studies/1?trouble=true", "/", "/journal"])
def test_a_study_of_a_thousand_rounds_comes_a_page_at_a_time(long_study: Explorer, path: str) -> None:
    answer = long_study.client.get(path)
    assert answer.status_code == 200
    assert len(answer.content) < MAX_PAGE_BYTES
    assert len(Page(answer.text).tags) < 6000


@pytest.mark.slow
def test_its_rounds_are_all_there_page_after_page(long_study: Explorer) -> None:
    path, found = "/studies/1", []
    while path:
        page = page_of(long_study, path)
        found += [int(number) for number in re.findall(r"Round (\d+) ", " ".join(page.text.split()))]
        path = next((one["href"] for one in page.with_tag("a") if one.get("rel") == "next"), None)
    assert list(dict.fromkeys(found)) == list(range(1000, 0, -1))


@pytest.mark.slow
def test_its_curves_have_few_points_and_lose_no_fault(long_study: Explorer) -> None:
    study = long_study.service.view.snapshot.studies[1]
    points = points_of(study)
    assert len(points) <= MOST_POINTS
    assert (points[0].first, points[-1].last) == (1, 1000)
    faults = sum(term.fault is not None for one in study.rounds for term in one.terms)
    assert sum(one.faults for one in points) == faults > 100
    drawn = charts.taking_part(points)
    assert all(0 <= bar.y <= charts.HEIGHT and bar.x + bar.width <= charts.WIDTH for bar in drawn.bars)


@pytest.mark.parametrize(
    ("seconds", "spelt"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3661, "1 h 1 min"), (90_000, "1 d 1 h"), (86_460, "1 d 1 min")],
)
def test_a_span_of_time_is_spelt_with_two_units_at_most(seconds: int, spelt: str) -> None:
    assert words.span(seconds) == spelt


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Kiel", "Kiel"),
        ("a\nb\tc", "a b c"),
        ("a\u202eb", "a\ufffdb"),
        ("\x1b[0m", "\ufffd[0m"),
        ("x" * 400, "x" * 300 + "…"),
    ],
)
def test_what_strangers_wrote_is_one_legible_line(written: str, shown: str) -> None:
    assert words.legible(written) == shown


def test_a_time_that_no_calendar_has_is_shown_as_it_is() -> None:
    assert str(words.when(2**62)) == f"second {2**62}"
