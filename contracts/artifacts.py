"""The compiled contracts that this package ships."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

ContractName = Literal["Consortium", "Study"]


@dataclass(frozen=True, slots=True)
class Artifact:
    """One compiled contract.

    `bytecode` creates the contract, with the ABI-encoded constructor arguments after it. `runtime` is what then stands
    on the chain, but for its immutables: zeros here, at each (start, length) of `immutable_references`.
    """

    name: ContractName
    abi: list[dict[str, Any]]
    bytecode: bytes
    runtime: bytes
    immutable_references: tuple[tuple[int, int], ...]

    def is_runtime(self, code: bytes) -> bool:
        """Say whether the code found on a chain is this contract's, whatever its immutables are."""
        masked = bytearray(code)
        if len(masked) != len(self.runtime):
            return False
        for start, length in self.immutable_references:
            masked[start : start + length] = bytes(length)
        return bytes(masked) == self.runtime


@cache
def load(name: ContractName) -> Artifact:
    """Read a contract's artifact."""
    recorded = json.loads(files("contracts").joinpath("artifacts", f"{name}.json").read_bytes())
    return Artifact(
        name=name,
        abi=recorded["abi"],
        bytecode=bytes.fromhex(recorded["bytecode"]),
        runtime=bytes.fromhex(recorded["runtime"]),
        immutable_references=tuple((start, length) for start, length in recorded["immutable_references"]),
    )
