"""The explorer in a real browser: what JavaScript adds, and what keyboards, screen readers and phones need."""

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from browser import browser, needs_browser, prefer, size
from model_vectors import entry, header_of
from safetensors.numpy import save_file
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait
from serving import Explorer, served
from story import Story, specification

from swarm.model_file import model_hash

pytestmark = [pytest.mark.slow, needs_browser, pytest.mark.xdist_group("browser")]

PAGES = (
    "/",
    "/studies",
    "/studies/1",
    "/studies/2",
    "/studies/1/rounds/6",
    "/studies/1/family",
    "/studies/1/rules",
    "/studies/1/agreement",
    "/consortium",
    "/check",
    "/search?q=l",
    "/journal",
    "/glossary",
    "/nothing",
)
AXE = (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
STANDARD = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"], "resultTypes": ["violations"]}


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with browser(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture
def screen(chrome: Chrome) -> Iterator[Chrome]:
    """The browser as a desktop has it, with nothing said on its console."""
    size(chrome, 1280, 900)
    prefer(chrome, prefers_color_scheme="light")
    chrome.get("about:blank")
    chrome.get_log("browser")
    yield chrome
    said = [line["message"] for line in chrome.get_log("browser") if "404 (Not Found)" not in line["message"]]
    assert said == []


def wait(driver: Chrome) -> WebDriverWait[Chrome]:
    return WebDriverWait(driver, 120, poll_frequency=0.05)


def text_of(driver: Chrome, selector: str) -> str:
    return driver.find_element(By.CSS_SELECTOR, selector).text


def await_text(driver: Chrome, selector: str, words: str) -> None:
    shown = "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)"

    def is_there(_: Chrome) -> bool:
        return any(words in text for text in driver.execute_script(shown, selector))

    wait(driver).until(is_there)


def violations(driver: Chrome) -> list[tuple[str, str]]:
    """What axe-core finds that a person could not use."""
    driver.execute_script(AXE)
    run = "const [options, done] = arguments; axe.run(document, options).then(done, (error) => done(String(error)))"
    answer = driver.execute_async_script(run, STANDARD)
    return [(one["id"], node["html"]) for one in answer["violations"] for node in one["nodes"]]


@pytest.mark.parametrize(
    ("width", "mobile", "scheme"), [(1280, False, "light"), (1280, False, "dark"), (360, True, "light")]
)
def test_no_page_has_what_keyboards_or_screen_readers_can_t_use(
    explorer: Explorer, screen: Chrome, width: int, mobile: bool, scheme: str
) -> None:
    size(screen, width, 800, mobile=mobile)
    prefer(screen, prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
    found = {}
    for path in PAGES:
        screen.get(explorer.url + path)
        found[path] = violations(screen)
    assert {path: one for path, one in found.items() if one} == {}


def test_a_phone_scrolls_no_page_sideways(explorer: Explorer, screen: Chrome) -> None:
    size(screen, 360, 740, mobile=True)
    for path in PAGES:
        screen.get(explorer.url + path)
        assert screen.execute_script("return document.documentElement.scrollWidth") <= 360, path


def test_a_page_asks_nobody_but_its_own_service(explorer: Explorer, screen: Chrome) -> None:
    for path in PAGES:
        screen.get(explorer.url + path)
        asked = screen.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
        assert asked
        assert all(name.startswith(explorer.url) for name in asked)


def test_a_reader_moves_through_a_page_by_keyboard(explorer: Explorer, screen: Chrome) -> None:
    screen.get(explorer.url + "/studies/1")
    screen.switch_to.active_element.send_keys(Keys.TAB)
    assert screen.switch_to.active_element.text == "Skip to the content"
    screen.switch_to.active_element.send_keys(Keys.ENTER)
    assert screen.switch_to.active_element.get_attribute("id") == "main"
    for _ in range(40):
        screen.switch_to.active_element.send_keys(Keys.TAB)
        if screen.switch_to.active_element.tag_name == "svg":
            break
    screen.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert text_of(screen, ".tip").startswith("round 1: ")
    screen.switch_to.active_element.send_keys(Keys.END)
    assert text_of(screen, ".tip").startswith("round 24: ")
    assert screen.execute_script("return getComputedStyle(document.activeElement).outlineStyle") == "solid"


def model(folder: Path, seed: int) -> Path:
    """A model file as the safetensors library writes one."""
    draw = np.random.default_rng(seed)
    path = folder / f"model-{seed}.safetensors"
    save_file({"w": draw.standard_normal((5, 3), np.float32), "b": draw.standard_normal(3, np.float32)}, path)
    return path


def test_a_dropped_model_is_told_where_it_comes_from_and_never_leaves_the_browser(
    screen: Chrome, tmp_path: Path
) -> None:
    first, last, stranger = (model(tmp_path, seed) for seed in (1, 2, 3))
    story = Story()
    spec = specification(2).with_initial(model_hash(first))
    study = story.propose_spec(spec)
    story.play_round(study)
    story.play_round(study, output=model_hash(last))
    with served(story, tmp_path) as explorer:
        screen.get(explorer.url + "/check")
        drop(screen, last)
        await_text(screen, "#dropped", "This is the final model of study 1")
        assert model_hash(last).hex() in text_of(screen, "#dropped")
        drop(screen, first)
        await_text(screen, "#dropped", "The initial model of")
        drop(screen, stranger)
        await_text(screen, "#dropped", "The ledger does not know this")
        broken = tmp_path / "broken.safetensors"
        broken.write_bytes(header_of({"a": entry(0, 4, 1)}))
        drop(screen, broken)
        await_text(screen, "#dropped", "broken.safetensors is no model file: it was cut short")
        sent = screen.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
        assert {re.sub(r"[0-9a-f]{64}", "HASH", one) for one in sent if "/hashes/" in one} == {
            f"{explorer.url}/hashes/0xHASH"
        }


def drop(driver: Chrome, file: Path) -> None:
    driver.find_element(By.CSS_SELECTOR, "#file").send_keys(str(file))


def test_a_page_shows_what_is_new_by_itself(screen: Chrome, tmp_path: Path) -> None:
    story = Story()
    study = story.propose(5)
    story.play_round(study)
    with served(story, tmp_path) as explorer:
        screen.get(f"{explorer.url}/studies/{study}")
        await_text(screen, ".figures", "1 of 5")
        screen.execute_script("document.querySelector('details').open = true")
        story.play_round(study)
        await_text(screen, ".figures", "2 of 5")
        await_text(screen, "#live", "Updated.")
        assert screen.execute_script("return document.querySelector('details').open")
        head = int(story.head()["number"], 16)
        await_text(screen, "footer", f"block {head:,}")


def test_nothing_moves_under_the_hands_of_who_is_in_the_middle_of_it(screen: Chrome, tmp_path: Path) -> None:
    story = Story()
    study = story.propose(5)
    with served(story, tmp_path) as explorer:
        screen.get(f"{explorer.url}/studies/{study}")
        screen.execute_script("document.querySelector('.filter a').focus()")
        story.play_round(study)
        await_text(screen, "#live", "There is something new: reload the page to see it.")
        assert "0 of 5" in text_of(screen, ".figures")


def test_verdicts_come_by_themselves_with_their_evidence(explorer: Explorer, screen: Chrome) -> None:
    screen.get(explorer.url + "/studies/2/rules")
    await_text(screen, ".verdict h2", "1 rule broken")
    await_text(screen, "#rule-specification .tag", "broken")
    assert "the contract enforces other terms" in text_of(screen, "#rule-specification details")


def test_strangers_names_run_nothing(explorer: Explorer, screen: Chrome) -> None:
    for path in ("/", "/consortium", "/studies/1", "/studies/1/family", "/journal"):
        screen.get(explorer.url + path)
        assert screen.execute_script("return document.body.textContent.includes('<script>alert(1)</script>')")
        assert not screen.execute_script("return [...document.scripts].some((one) => !one.src)")
