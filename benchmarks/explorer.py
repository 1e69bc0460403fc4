"""What the auditors' service costs: requests a second while the index grows, and pages of a long study in a browser.

`python -m benchmarks.explorer`: needs wrk for the first table and Chromium for the second (Debian: wrk, chromium,
chromium-driver). The chain is one in memory, and everything else is what `swarm-node explorer` runs.
"""

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "explorer"))

from browser import CHROMIUM, browser, size
from serving import Explorer, served
from story import HOSPITALS, Story, troubled_study

CONNECTIONS = 16
MINE_SECONDS = 0.5
API = (
    ("status", "/api/v1/status"),
    ("one study", "/api/v1/studies/1"),
    ("50 rounds", "/api/v1/studies/1/rounds?cursor=400"),
    ("50 events", "/api/v1/events?study=1&cursor=5000.0"),
    ("a model by hash", "/api/v1/hashes/{model}"),
    ("search by name", "/api/v1/search?q=kiel"),
    ("a study's page", "/studies/1"),
    ("50 rounds, no answer kept", "/api/v1/studies/1/rounds?cursor=400&fresh="),
    ("50 events, no answer kept", "/api/v1/events?study=1&cursor=5000.0&fresh="),
    ("a study's page, no answer kept", "/studies/1?fresh="),
)
FRESH = """
local count = 0
request = function()
  count = count + 1
  return wrk.format("GET", wrk.path .. count)
end
"""
PAGES = (
    ("overview", "/"),
    ("study, newest rounds", "/studies/1"),
    ("study, only trouble", "/studies/1?trouble=true"),
    ("round 500", "/studies/1/rounds/500"),
    ("model family", "/studies/1/family"),
    ("journal", "/journal?study=1"),
)


@contextmanager
def growing(explorer: Explorer, study: int) -> Iterator[None]:
    """Have something new on the chain twice a second: every answer that was kept is then stale."""
    is_over = threading.Event()

    def grow() -> None:
        while not is_over.wait(MINE_SECONDS):
            explorer.story.play_round(study)

    thread = threading.Thread(target=grow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def load(url: str, seconds: int) -> tuple[float, str, str]:
    """Ask one thing as often as possible; gives requests a second, the median and the 99th percentile."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "--timeout", "30s"]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(FRESH if url.endswith("fresh=") else "")
        script.flush()
        told = subprocess.run([*command, "-s", script.name, url], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in told or "Socket errors" in told:
        raise SystemExit(told)
    patterns = (r"Requests/sec:\s+([\d.]+)", r"(?m)^\s+50%\s+(\S+)", r"(?m)^\s+99%\s+(\S+)")
    found = [re.search(pattern, told) for pattern in patterns]
    rate, median, worst = (match.group(1) if match else "" for match in found)
    return float(rate), median, worst


def show_load(explorer: Explorer, growing_study: int, seconds: int) -> None:
    final = explorer.service.view.snapshot.studies[1].final_output
    print(f"\nWith {CONNECTIONS} connections; the right half with the chain growing underneath:\n")
    print("| asked for | requests/s | median | p99 | requests/s | median | p99 |")
    print("|---|---|---|---|---|---|---|")
    for name, path in API:
        url = explorer.url + path.format(model=final.hex() if final else "")
        still = load(url, seconds)
        before = explorer.service.view.snapshot.folded.events
        with growing(explorer, growing_study):
            moving = load(url, seconds)
        assert explorer.service.view.snapshot.folded.events > before, "the index did not grow"
        figures = " | ".join(f"{rate:,.0f} | {median} | {worst}" for rate, median, worst in (still, moving))
        print(f"| {name} | {figures} |", flush=True)


def show_pages(explorer: Explorer, times: int) -> None:
    print("\n| page of a study of 1,000 rounds | KB | server, ms | DOMContentLoaded, ms |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as driver:
        size(driver, 1280, 900)
        for name, path in PAGES:
            mark = "&" if "?" in path else "?"
            served_in, loaded_in, weight = [], [], 0
            for number in range(times):
                begin = time.perf_counter()
                weight = len(httpx.get(f"{explorer.url}{path}{mark}fresh={number}").content)
                served_in.append(1000 * (time.perf_counter() - begin))
                driver.get(f"{explorer.url}{path}{mark}again={number}")
                timing = "const [one] = performance.getEntriesByType('navigation'); return one.domContentLoadedEventEnd"
                loaded_in.append(driver.execute_script(timing))
            middle = statistics.median(served_in), statistics.median(loaded_in)
            print(f"| {name} | {weight / 1000:.0f} | {middle[0]:.0f} | {middle[1]:.0f} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=8, help="of load for each figure")
    parser.add_argument("--times", type=int, default=7, help="that each page is opened")
    options = parser.parse_args(arguments)
    story = Story(names=HOSPITALS)
    troubled_study(story, options.rounds)
    other = story.propose(2000)
    with tempfile.TemporaryDirectory() as folder, served(story, Path(folder)) as explorer:
        events = explorer.service.view.snapshot.folded.events
        print(f"{events:,} events, a study of {options.rounds:,} rounds with {len(HOSPITALS)} sites")
        if shutil.which("wrk"):
            show_load(explorer, other, options.seconds)
        if CHROMIUM:
            show_pages(explorer, options.times)


if __name__ == "__main__":
    main()
