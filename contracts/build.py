"""Compile the contracts: `python -m contracts.build` writes the artifacts, `--check` compares them with the sources.

The same sources give the same bytes on every machine: the compiler's version, its settings and the names of the source
units are fixed, and no hash of the metadata (which would hold paths) goes into the bytecode.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any, Final, get_args

import solcx
from solcx.exceptions import SolcNotInstalled

from contracts.artifacts import ContractName

SOLC_VERSION: Final = "0.8.37"
HERE: Final = Path(__file__).resolve().parent
ARTIFACTS: Final = HERE / "artifacts"
NAMES: Final[tuple[ContractName, ...]] = get_args(ContractName)
SETTINGS: Final[dict[str, Any]] = {
    "evmVersion": "cancun",
    "metadata": {"bytecodeHash": "none"},
    "optimizer": {"enabled": True, "runs": 200},
}
_OUTPUTS = ["abi", "metadata", "evm.bytecode.object", "evm.deployedBytecode"]


class CompilerMissingError(RuntimeError):
    """There is no Solidity compiler of the right version on this machine."""

    def __init__(self) -> None:
        super().__init__(
            f"no solc {SOLC_VERSION} here: run `npm ci --ignore-scripts` in {HERE} (it needs Node.js), or "
            f"`python -m solcx.install v{SOLC_VERSION}`, or set SWARM_SOLC to the path of one"
        )


class CompilerVersionError(RuntimeError):
    """The compiler that was found is not the version that the artifacts are made with."""


def find_solc() -> Path:
    """Choose the compiler: $SWARM_SOLC, else one that py-solc-x installed, else the npm one in this folder.

    Raises CompilerMissingError where there is none.
    """
    if named := os.environ.get("SWARM_SOLC"):
        return Path(named)
    try:
        return Path(solcx.install.get_executable(SOLC_VERSION))
    except SolcNotInstalled:
        pass
    if (HERE / "node_modules" / "solc").is_dir() and shutil.which("node"):
        return HERE / "solc-wasm.js"
    raise CompilerMissingError


def compile_all() -> dict[ContractName, dict[str, Any]]:
    """Compile the contracts into artifacts, as they are written to disk.

    Raises CompilerMissingError, CompilerVersionError, or solcx.exceptions.SolcError with the compiler's messages.
    """
    sources = {f"src/{path.name}": path.read_text(encoding="utf-8") for path in sorted((HERE / "src").glob("*.sol"))}
    output = solcx.compile_standard(
        {
            "language": "Solidity",
            "sources": {unit: {"content": text} for unit, text in sources.items()},
            "settings": {**SETTINGS, "outputSelection": {f"src/{name}.sol": {name: _OUTPUTS} for name in NAMES}},
        },
        solc_binary=find_solc(),
    )
    return {name: _artifact(name, output["contracts"][f"src/{name}.sol"][name], sources) for name in NAMES}


def encode(artifact: dict[str, Any]) -> bytes:
    """Write an artifact as JSON with one spelling."""
    return json.dumps(artifact, indent=1, sort_keys=True).encode() + b"\n"


def _artifact(name: ContractName, compiled: dict[str, Any], sources: dict[str, str]) -> dict[str, Any]:
    metadata = json.loads(compiled["metadata"])
    version: str = metadata["compiler"]["version"]
    if not re.fullmatch(rf"{re.escape(SOLC_VERSION)}\+commit\.[0-9a-f]+", version):
        raise CompilerVersionError(f"the compiler is {version}; the artifacts are made with {SOLC_VERSION}")
    deployed = compiled["evm"]["deployedBytecode"]
    return {
        "abi": compiled["abi"],
        "bytecode": compiled["evm"]["bytecode"]["object"],
        "compiler": version,
        "immutable_references": sorted(
            [reference["start"], reference["length"]]
            for references in deployed["immutableReferences"].values()
            for reference in references
        ),
        "name": name,
        "runtime": deployed["object"],
        "settings": SETTINGS,
        "sources": {unit: hashlib.sha256(sources[unit].encode()).hexdigest() for unit in metadata["sources"]},
    }


def main(arguments: list[str] | None = None) -> int:
    """Write the artifacts, or with --check say whether they are what the sources compile to."""
    parser = argparse.ArgumentParser(prog="python -m contracts.build", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where an artifact is stale")
    check = parser.parse_args(arguments).check
    stale = 0
    for name, artifact in compile_all().items():
        path, wanted = ARTIFACTS / f"{name}.json", encode(artifact)
        if check and (not path.is_file() or path.read_bytes() != wanted):
            print(f"{path.name} is not what the sources compile to: run `python -m contracts.build`", file=sys.stderr)  # noqa: T201
            stale = 1
        elif not check:
            ARTIFACTS.mkdir(exist_ok=True)
            path.write_bytes(wanted)
    return stale


if __name__ == "__main__":
    sys.exit(main())
