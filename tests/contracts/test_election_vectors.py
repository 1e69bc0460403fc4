"""The election as an auditor recomputes it, in plain Python, on the vectors that the Solidity tests check too."""

import json
from collections.abc import Iterator
from functools import reduce
from operator import xor
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_hash.auto import keccak

import contracts

VECTORS = Path(contracts.__file__).parent / "test" / "election_vectors.json"


def cases() -> list[dict[str, Any]]:
    return json.loads(VECTORS.read_bytes())["cases"]


def raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def genesis(case: dict[str, Any]) -> bytes:
    values = [case["chain_id"], case["contract"], case["study"], raw(case["spec_hash"])]
    return keccak(encode(["uint256", "address", "uint256", "bytes32"], values))


def mix(case: dict[str, Any]) -> bytes:
    contributions = (
        int.from_bytes(keccak(encode(["uint8", "bytes32"], [seat, raw(reveal)])))
        for seat, reveal in zip(case["seats"], case["reveals"], strict=True)
    )
    return reduce(xor, contributions, 0).to_bytes(32)


def seed(case: dict[str, Any]) -> bytes:
    values = [raw(case["genesis"]), raw(case["mix"]), case["round"], case["attempt"]]
    return keccak(encode(["bytes32", "bytes32", "uint16", "uint16"], values))


def leaders(case: dict[str, Any]) -> Iterator[int]:
    """Elect a leader for term after term, each of whom fails."""
    candidates = [seat for seat in range(256) if int(case["candidates"], 16) >> seat & 1]
    for term in range(len(case["leaders"])):
        draw = int.from_bytes(keccak(encode(["bytes32", "uint16"], [raw(case["seed"]), term])))
        yield candidates.pop(draw % len(candidates))


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["name"])
def test_the_election_follows_from_the_record(case: dict[str, Any]) -> None:
    assert genesis(case) == raw(case["genesis"])
    assert mix(case) == raw(case["mix"])
    assert seed(case) == raw(case["seed"])
    assert list(leaders(case)) == case["leaders"]


def test_a_site_that_copies_a_chain_cancels_nothing() -> None:
    copied = next(case for case in cases() if case["name"] == "copied chain")
    assert len(set(copied["reveals"])) == 1
    assert raw(copied["mix"]) != bytes(32)
