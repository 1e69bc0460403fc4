"""What the gas on record says: no call of a round costs more where there are more sites."""

import json
from pathlib import Path

import pytest

import contracts

GAS = Path(contracts.__file__).parent / "test" / "gas"
SITES = (4, 16, 64)
ADDRESS_ZEROS = 400  # calldata of zero bytes is cheaper, and which seat leads is chance


def record() -> dict[int, dict[str, int]]:
    return {n: {k: int(v) for k, v in json.loads((GAS / f"{n}-sites.json").read_bytes()).items()} for n in SITES}


@pytest.mark.parametrize("call", sorted(record()[4]))
def test_the_cost_of_a_call_does_not_depend_on_the_number_of_sites(call: str) -> None:
    costs = [record()[n][call] for n in SITES]
    assert max(costs) - min(costs) <= ADDRESS_ZEROS


def test_a_round_costs_each_site_less_than_a_fifth_of_a_million() -> None:
    for gas in record().values():
        assert gas["commit"] + gas["attest"] < 200_000
        assert gas["attestAndCommit"] < 200_000


def test_the_readme_shows_the_record() -> None:
    readme = (GAS.parent.parent / "README.md").read_text(encoding="utf-8")
    for call in record()[4]:
        row = f"| {call} | " + " | ".join(f"{record()[n][call]:,}" for n in SITES) + " |"
        assert row in readme
