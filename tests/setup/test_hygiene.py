"""What no file of the repository may hold, and what every dependency must say of itself."""

import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
HERE = (["linux"], ["x64"])  # the platform that the tests run on, as npm spells it
THIS_MACHINE = [str(path) for path in (ROOT, Path.home(), Path(sys.prefix)) if len(path.parts) > 2]


@cache
def texts() -> dict[str, str]:
    """Read every text file that is, or is about to be, under version control."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listing.returncode:
        pytest.skip("this is no git checkout")
    found = {}
    for name in filter(None, listing.stdout.split("\0")):
        raw = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b"\0"
        if b"\0" not in raw:
            found[name] = raw.decode()
    return found


def lines_with(pattern: str) -> list[str]:
    matcher = re.compile(pattern)
    return [
        f"{name}:{number}: {line.strip()}"
        for name, text in texts().items()
        for number, line in enumerate(text.splitlines(), start=1)
        if matcher.search(line)
    ]


def test_no_file_names_a_path_of_one_machine() -> None:
    somebodys = ["/(?:ho" + "me|Us" + "ers)/[a-z]", "(?<![a-z.])/ro" + "ot/", *map(re.escape, THIS_MACHINE)]
    assert lines_with("|".join(somebodys)) == []


def test_nothing_is_left_to_do() -> None:
    assert lines_with(r"\b(TO" + "DO|FIX" + "ME|XX" + r"X)\b") == []


def test_no_file_is_too_large_for_a_source_repository() -> None:
    assert [name for name, text in texts().items() if len(text) > 1_000_000] == []


@pytest.mark.parametrize("name", ["contracts/package-lock.json"])
def test_a_lock_pins_content_and_names_no_registry(name: str) -> None:
    lock = json.loads((ROOT / name).read_text(encoding="utf-8"))
    packages = {path: entry for path, entry in lock["packages"].items() if path}
    assert packages
    assert [path for path, entry in packages.items() if "resolved" in entry] == []
    unpinned = [entry for entry in packages.values() if not entry.get("integrity", "").startswith("sha512-")]
    elsewhere = [entry for entry in unpinned if entry.get("optional") and (entry["os"], entry["cpu"]) != HERE]
    assert unpinned == elsewhere, "only a binary for another platform than ours may go by its version alone"


def test_node_packages_are_pinned_exactly() -> None:
    manifest = json.loads((ROOT / "contracts" / "package.json").read_text(encoding="utf-8"))
    wanted = {**manifest.get("dependencies", {}), **manifest.get("devDependencies", {})}
    assert wanted
    assert {name: version for name, version in wanted.items() if not re.fullmatch(r"\d+\.\d+\.\d+", version)} == {}


def dependencies() -> list[str]:
    project = tomllib.loads(PROJECT)["project"]
    return [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]


@pytest.mark.parametrize("requirement", dependencies())
def test_a_dependency_has_a_range_and_a_reason(requirement: str) -> None:
    assert re.search(r"==|>=", requirement), "no lower bound"
    (line,) = [line for line in PROJECT.splitlines() if line.strip().startswith(f'"{requirement}"')]
    assert re.search(r'",\s+# \w+', line), "no reason beside it"


def test_the_changelog_is_kept_for_this_version_or_the_next() -> None:
    version = tomllib.loads(PROJECT)["project"]["version"]
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] in {"Unreleased", version}
