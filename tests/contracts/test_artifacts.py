"""The artifacts that are shipped are what the sources compile to."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, get_args

import pytest

from contracts import artifacts, build
from contracts.artifacts import ContractName

NAMES: tuple[ContractName, ...] = get_args(ContractName)
LARGEST_CONTRACT = 24_576  # bytes of code that an Ethereum chain accepts (EIP-170)


def recorded(name: ContractName) -> dict[str, Any]:
    return json.loads((build.ARTIFACTS / f"{name}.json").read_bytes())


@pytest.mark.parametrize("name", NAMES)
def test_the_sources_are_those_on_record(name: ContractName) -> None:
    for unit, digest in recorded(name)["sources"].items():
        assert hashlib.sha256((build.HERE / unit).read_bytes()).hexdigest() == digest, (
            f"{unit} changed: run `python -m contracts.build`"
        )


def test_every_source_is_on_record() -> None:
    sources = {f"src/{path.name}" for path in (build.HERE / "src").glob("*.sol")}
    assert sources == {unit for name in NAMES for unit in recorded(name)["sources"]}


@pytest.mark.parametrize("name", NAMES)
def test_an_artifact_has_one_spelling(name: ContractName) -> None:
    assert build.encode(recorded(name)) == (build.ARTIFACTS / f"{name}.json").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_the_compiler_and_its_settings_are_pinned(name: ContractName) -> None:
    assert recorded(name)["compiler"].startswith(f"{build.SOLC_VERSION}+commit.")
    assert recorded(name)["settings"] == build.SETTINGS


@pytest.mark.parametrize("name", NAMES)
def test_a_contract_fits_on_a_chain(name: ContractName) -> None:
    assert 0 < len(artifacts.load(name).runtime) <= LARGEST_CONTRACT


@pytest.mark.parametrize("name", NAMES)
def test_code_on_a_chain_is_recognised_whatever_its_immutables(name: ContractName) -> None:
    artifact = artifacts.load(name)
    deployed = bytearray(artifact.runtime)
    for start, length in artifact.immutable_references:
        deployed[start : start + length] = b"\x11" * length
    assert artifact.immutable_references
    assert artifact.is_runtime(bytes(deployed))


@pytest.mark.parametrize("name", NAMES)
def test_other_code_is_not(name: ContractName) -> None:
    artifact = artifacts.load(name)
    assert not artifact.is_runtime(b"")
    assert not artifact.is_runtime(artifact.runtime + b"\0")
    assert not artifact.is_runtime(bytes([artifact.runtime[0] ^ 1]) + artifact.runtime[1:])


def test_a_compiler_that_is_named_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SWARM_SOLC", str(tmp_path / "solc"))
    assert build.find_solc() == tmp_path / "solc"


def test_a_missing_compiler_says_what_to_type(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SWARM_SOLC", raising=False)
    monkeypatch.setenv("SOLCX_BINARY_PATH", str(tmp_path))
    monkeypatch.setattr(build, "HERE", tmp_path)
    with pytest.raises(build.CompilerMissingError, match="npm ci --ignore-scripts"):
        build.find_solc()


@pytest.mark.slow
def test_the_sources_compile_to_the_artifacts_byte_for_byte() -> None:
    try:
        build.find_solc()
    except build.CompilerMissingError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    for name, artifact in build.compile_all().items():
        assert build.encode(artifact) == (build.ARTIFACTS / f"{name}.json").read_bytes()
