"""Imports point one way, and what is slow or dangerous to import stays where it belongs."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# package -> what it may import of ours, besides itself
OURS = {"contracts": set(), "swarm": set(), "ledger": {"swarm", "contracts"}, "node": {"ledger", "swarm", "contracts"}}

# a library -> the only modules that may import it, with all below them
ONLY_IN = {
    "torch": ("swarm.deployable", "swarm.loop", "swarm.models", "swarm.optimizers", "swarm.training", "swarm.worker"),
    "lightning": ("swarm.loop.lightning",),
    "onnx": ("swarm.deployable",),
    "onnxruntime": ("swarm.deployable",),
    "libp2p": ("node.network",),
    "web3": ("ledger",),
    "solcx": ("contracts",),
    "sklearn": ("swarm",),
    "safetensors": ("swarm",),
    "matplotlib": ("node",),
    "pyarrow": ("swarm.data",),
    "jwt": ("node.api",),
    "prometheus_client": ("node.api",),
    "PIL": ("swarm.data",),
}

# where secrets are drawn and strangers' bytes are read, these are not even imported
UNSAFE_THERE = ("swarm.privacy", "node.network", "ledger")
UNSAFE = {"random", "numpy.random"}
UNSAFE_ANYWHERE = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
UNSAFE_CALLS = {"torch.load", "torch.save", "yaml.load", "np.load", "numpy.load"}  # the last two unless told not to

# module -> the distribution that brings it, where that is named differently or is not one of ours to name
BROUGHT_BY = {
    "Crypto": "web3",
    "cryptography": "libp2p",
    "eth_abi": "web3",
    "eth_account": "web3",
    "eth_hash": "web3",
    "eth_keyfile": "web3",
    "eth_keys": "web3",
    "eth_typing": "web3",
    "eth_utils": "web3",
    "google": "protobuf",
    "hexbytes": "web3",
    "multiaddr": "libp2p",
    "markupsafe": "jinja2",
    "PIL": "pillow",
    "jwt": "pyjwt",
    "requests": "web3",
    "rlp": "web3",
    "sklearn": "scikit_learn",
    "solcx": "py_solc_x",
    "starlette": "fastapi",
    "trio_typing": "libp2p",
}


@cache
def modules() -> dict[str, ast.Module]:
    """Parse every module that the wheel ships, by its dotted name."""
    found = {}
    for package in OURS:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if "node_modules" not in parts:
                name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
                found[name] = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    return found


def imports(name: str) -> Iterator[str]:
    """Name all that a module imports, in functions and for types too."""
    for statement in ast.walk(modules()[name]):
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            source = statement.module or ""
            if statement.level:
                source = f"{name.split('.')[0]}.{source}"
            yield source
            yield from (f"{source}.{alias.name}" for alias in statement.names)


def is_under(module: str, places: tuple[str, ...] | set[str]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


def test_our_packages_import_one_way() -> None:
    across = {
        (name, imported)
        for name in modules()
        for imported in imports(name)
        if is_under(imported, set(OURS)) and imported.split(".")[0] != name.split(".")[0]
    }
    assert {(name, other) for name, other in across if other.split(".")[0] not in OURS[name.split(".")[0]]} == set()


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_imported_where_it_belongs(library: str) -> None:
    strangers = {
        name
        for name in modules()
        if not is_under(name, ONLY_IN[library]) and any(is_under(imported, {library}) for imported in imports(name))
    }
    assert strangers == set()


def test_nothing_unsafe_is_imported() -> None:
    unsafe = {
        (name, imported)
        for name in modules()
        for imported in imports(name)
        if is_under(imported, UNSAFE_ANYWHERE) or (is_under(name, UNSAFE_THERE) and is_under(imported, UNSAFE))
    }
    assert unsafe == set()


def test_nothing_unsafe_is_called() -> None:
    called = {
        (name, ast.unparse(node.func))
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and "allow_pickle=False" not in map(ast.unparse, node.keywords)
    }
    assert {(name, function) for name, function in called if function in UNSAFE_CALLS} == set()


def test_every_library_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [extra for name, extra in project["optional-dependencies"].items() if name != "test"]
    requirements = [*project["dependencies"], *(one for extra in extras for one in extra)]
    declared = {re.split("[<>=]", requirement)[0].replace("-", "_") for requirement in requirements}
    imported = {library.split(".")[0] for name in modules() for library in imports(name)}
    third_party = imported - set(OURS) - sys.stdlib_module_names
    assert {library for library in third_party if BROUGHT_BY.get(library, library) not in declared} == set()


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("node.cli", {"torch", "sklearn", "matplotlib", "fastapi", "uvicorn"}),
        ("ledger", {"torch", "libp2p", "sklearn", "matplotlib"}),
        ("swarm.data", {"torch", "sklearn", "pyarrow", "PIL"}),
        ("swarm.loop.meeting", {"torch", "trio", "web3", "libp2p"}),
        ("node.loop", {"torch"}),
        ("swarm.spec", {"torch", "trio", "web3", "libp2p"}),
        ("swarm.merge", {"torch", "trio", "web3", "libp2p"}),
        ("swarm.blobs", {"torch", "trio", "web3", "libp2p"}),
    ],
)
def test_what_must_start_at_once_loads_nothing_slow(module: str, absent: set[str]) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert absent & set(loaded.stdout.split()) == set()
