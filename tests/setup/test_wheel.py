"""The wheel holds what a running site needs, and nothing else."""

import shutil
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.setup.wheels import build_wheel

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("contracts", "ledger", "node", "swarm")

pytestmark = pytest.mark.xdist_group("wheel")  # one build serves all


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel from a copy of the tree, so that the tree stays as it is, and without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    unwanted = shutil.ignore_patterns(".*", "node_modules", "__pycache__", "*.egg-info", "build")
    shutil.copytree(ROOT, folder / "tree", ignore=unwanted)
    planted = folder / "tree" / "contracts" / "node_modules" / "planted"
    planted.mkdir(parents=True)
    (planted / "__init__.py").touch()
    (planted / "planted.py").touch()
    return build_wheel(folder / "tree", folder)


def in_tree(pattern: str) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern)}


@pytest.mark.parametrize(
    "pattern",
    [
        *(f"{package}/**/*.py" for package in PACKAGES),
        *(f"{package}/py.typed" for package in PACKAGES),
        "contracts/artifacts/*.json",
        "contracts/src/*.sol",
        "contracts/package*.json",
        "contracts/solc-wasm.js",
        "swarm/studies/*.toml",
        "ledger/explorer/templates/*.html",
        "ledger/explorer/static/*",
        "ledger/audit/report/*.html",
    ],
)
def test_every_such_file_is_in_the_wheel(wheel: zipfile.ZipFile, pattern: str) -> None:
    wanted = {name for name in in_tree(pattern) if "/node_modules/" not in name}
    assert wanted, "the pattern names no file, so this test would prove nothing"
    assert wanted <= set(wheel.namelist())


def test_nothing_but_the_packages_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    folders = {name.split("/")[0] for name in wheel.namelist()}
    assert {folder for folder in folders if not folder.endswith(".dist-info")} == set(PACKAGES)
    kinds = {Path(name).suffix for name in wheel.namelist() if not name.split("/")[0].endswith(".dist-info")}
    assert kinds <= {".py", ".typed", ".json", ".sol", ".js", ".toml", ".html", ".css", ".svg"}
    assert not [name for name in wheel.namelist() if "node_modules" in name or "/test" in name]


def test_the_wheel_names_its_command_licence_and_dependencies(wheel: zipfile.ZipFile) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = f"swarm_learning_network-{project['version']}.dist-info"
    metadata = Parser().parsestr(wheel.read(f"{info}/METADATA").decode())
    assert "swarm-node = node.cli:main" in wheel.read(f"{info}/entry_points.txt").decode()
    assert metadata["License-Expression"] == "Apache-2.0"
    assert b"Apache License" in wheel.read(f"{info}/licenses/LICENSE")
    required = metadata.get_all("Requires-Dist") or []
    assert len([line for line in required if "extra ==" not in line]) == len(project["dependencies"])
