"""The image is built from files that are there, from nothing else, and by steps that work on those files alone."""

import fnmatch
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from node.cli import main
from tests.setup.wheels import build_wheel

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"contracts", "ledger", "node", "swarm"}


def instructions() -> list[tuple[str, str]]:
    """Read the Dockerfile: each instruction's name and the rest of it, continued lines joined."""
    text = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines())]


def arguments(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def is_ignored(path: str) -> bool:
    """Say whether .dockerignore keeps a path out: the last pattern that fits it, or a folder above it, decides."""
    parts = path.split("/")
    ignored = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        depths = range(1, len(parts) + 1)
        if pattern.startswith("**/"):
            fits = any(fnmatch.fnmatchcase(part, pattern.removeprefix("**/")) for part in parts)
        else:
            fits = any(
                depth == pattern.count("/") + 1 and fnmatch.fnmatchcase("/".join(parts[:depth]), pattern)
                for depth in depths
            )
        ignored = not line.startswith("!") if fits else ignored
    return ignored


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """What the builder gets: what COPY names, less what .dockerignore keeps out."""
    tree = tmp_path / "src"
    for copy in arguments("COPY"):
        *sources, target = shlex.split(copy)
        if sources[0].startswith("--from="):
            continue
        for source in sources:
            for path in [ROOT / source, *(ROOT / source).rglob("*")]:
                name = path.relative_to(ROOT).as_posix()
                if path.is_file() and not is_ignored(name):
                    place = tree / (name if target == "./" else name.replace(source, target, 1))
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, place)
    return tree


def test_what_is_copied_is_there() -> None:
    copied = [source for copy in arguments("COPY") if "--from" not in copy for source in shlex.split(copy)[:-1]]
    assert set(copied) >= PACKAGES | {"pyproject.toml", "README.md", "LICENSE"}
    assert [source for source in copied if not (ROOT / source).exists() or is_ignored(source)] == []


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".venv/bin/python",
        "contracts/node_modules/solc/index.js",
        "docker/consortium.env",
        "docker/site-password",
        "key",
        "ledger/.env",
        "node/__pycache__/site.pyc",
        "swarm-demo/site-1/keystore.json",
        "tests/conftest.py",
    ],
)
def test_keys_data_and_leftovers_stay_out_of_the_context(path: str) -> None:
    assert is_ignored(path)


def test_the_wheel_builds_from_what_is_copied_and_is_the_whole_program(context: Path, tmp_path: Path) -> None:
    names = set(build_wheel(context, tmp_path).namelist())
    tracked = subprocess.run(
        ["git", "ls-files", *(f"{package}/**.py" for package in sorted(PACKAGES))],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if tracked.returncode:
        pytest.skip("this is no git checkout")
    assert {name for name in tracked.stdout.split() if (ROOT / name).exists()} <= names
    assert "contracts/artifacts/Study.json" in names
    assert "swarm/studies/heart-disease.toml" in names


def test_every_base_is_pinned_to_a_minor_version() -> None:
    bases = [rest.split()[0] for rest in arguments("FROM")]
    stages = {rest.split()[2] for rest in arguments("FROM")}
    outside = {base for base in bases if base not in stages}
    assert outside == {"python:3.12-slim"}
    assert all(rest.startswith("--from=") is False or rest[7:].split()[0] in stages for rest in arguments("COPY"))


def test_the_image_runs_as_an_ordinary_user_and_gets_signals() -> None:
    assert arguments("USER") == ["swarm"]
    assert arguments("ENTRYPOINT") == ['["tini", "--", "swarm-node"]']
    assert instructions().index(("USER", "swarm")) < instructions().index(("FROM", "base AS site"))


def test_the_image_of_a_site_asks_the_site_whether_it_is_of_use() -> None:
    site = instructions()[instructions().index(("FROM", "base AS site")) :]
    (check,) = [rest for name, rest in instructions() if name == "HEALTHCHECK"]
    assert ("HEALTHCHECK", check) in site
    assert ("ENV", "SWARM_HOME=/site") in site
    options, command = check.split(" CMD ")
    assert re.fullmatch(r"--interval=\d+s --timeout=\d+s --start-period=\d+s --retries=\d+", options)
    program, word, *rest = command.split()
    assert (program, rest) == ("swarm-node", ["||", "exit", "1"])
    assert word in main.commands


def test_compilers_stay_in_the_build_stage() -> None:
    runtime = instructions()[instructions().index(("FROM", "python:3.12-slim AS base")) :]
    installed = " ".join(rest for name, rest in runtime if name == "RUN")
    assert not re.search(r"\bgcc\b|-dev\b", installed)
    assert "libgmp10" in installed


def test_no_argument_or_variable_is_a_secret() -> None:
    given = " ".join([*arguments("ARG"), *arguments("ENV")])
    assert not re.search(r"password|secret|token|key", given, re.IGNORECASE)


def test_pytorch_is_the_build_that_set_up_installs() -> None:
    setup = (ROOT / "scripts" / "setup").read_text(encoding="utf-8")
    wanted = dict(argument.split("=", 1) for argument in arguments("ARG"))
    assert f'torch_cpu="torch=={wanted["TORCH_VERSION"]}"' in setup
    assert f"torch_cpu_index={wanted['TORCH_INDEX']} " in setup


def test_commands_of_the_image_are_commands_of_the_program() -> None:
    called = [rest for rest in arguments("RUN") if "swarm-node devnet" in rest]
    assert called
    shown = subprocess.run(
        [sys.executable, "-m", "node.cli", "devnet", "install", "--help"], cwd=ROOT, capture_output=True, check=False
    )
    assert shown.returncode == 0


def test_python_of_the_image_is_one_that_the_project_takes() -> None:
    required = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    minimum = tuple(map(int, required.removeprefix(">=").split(".")))
    assert minimum <= (3, 12)
