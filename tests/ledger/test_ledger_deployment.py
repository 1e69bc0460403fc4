"""A deployment file says exactly where the contracts stand, or is refused with the field named."""

import json
from pathlib import Path
from typing import Any

import pytest
from ledger_world import World, account

from ledger import reverts
from ledger.client import Ledger
from ledger.deployment import Deployment, deploy
from ledger.devnet import Devnet
from ledger.errors import ChainMismatch, DeploymentInvalid
from ledger.types import Founder

DEPLOYMENT = Deployment(4711, b"\x01" * 32, account(1).address, account(2).address, 7)


def test_a_file_comes_back_as_it_was(tmp_path: Path) -> None:
    DEPLOYMENT.save(tmp_path / "new" / "deployment.json")
    assert Deployment.load(tmp_path / "new" / "deployment.json") == DEPLOYMENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["deployment.json"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"chain_id": 0}, "chain_id"),
        ({"chain_id": True}, "chain_id"),
        ({"chain_id": "4711"}, "chain_id"),
        ({"block": -1}, "block"),
        ({"genesis": "0x12"}, "genesis"),
        ({"genesis": "0x" + "zz" * 32}, "genesis"),
        ({"genesis": None}, "genesis"),
        ({"consortium": "0x12"}, "consortium"),
        ({"study": "11" * 20}, "study"),
        ({"version": 2}, "version"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], named: str) -> None:
    record = json.loads(DEPLOYMENT.to_json()) | change
    with pytest.raises(DeploymentInvalid, match=named):
        Deployment.from_json(json.dumps(record))


@pytest.mark.parametrize("text", ["", "[]", "7", "{"])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(DeploymentInvalid, match="JSON"):
        Deployment.from_json(text)


def test_a_missing_file_says_where_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(DeploymentInvalid, match="ask another site"):
        Deployment.load(tmp_path / "none.json")


def test_deploying_founds_the_consortium(world: World) -> None:
    world.ledger.check()
    assert world.ledger.members() == {
        seat: site.ledger.account.address for seat, site in enumerate(world.sites) if site.ledger.account
    }
    assert world.ledger.threshold() == 3


def test_deploying_with_a_bad_quorum_gives_the_contracts_own_error(devnet: Devnet) -> None:
    with pytest.raises(reverts.ConsortiumInvalidQuorum) as caught:
        deploy(devnet.rpc(), account(1), [Founder(account(1).address, "one")], 5000, 60)
    assert caught.value.quorum_bps == 5000


def test_another_chain_is_noticed(world: World, own_devnet: Devnet) -> None:
    with pytest.raises(ChainMismatch, match="begins with"):
        Ledger(own_devnet.rpc(), world.deployment).check()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("chain_id", 1, "chain 4711"),
        ("study", account(3).address, "no contract"),
        ("consortium", "study", "is not this version's Consortium"),
    ],
)
def test_a_deployment_that_is_not_there_is_noticed(world: World, field: str, value: Any, said: str) -> None:
    from dataclasses import replace

    wrong = replace(world.deployment, **{field: world.deployment.study if value == "study" else value})
    with pytest.raises(ChainMismatch, match=said):
        Ledger(world.devnet.rpc(), wrong).check()


def test_reading_from_where_nothing_stands_says_so(world: World) -> None:
    from dataclasses import replace

    empty = Ledger(world.devnet.rpc(), replace(world.deployment, study=account(3).address), account(1))
    with pytest.raises(ChainMismatch, match="not there"):
        empty.study_count()
    with pytest.raises(ChainMismatch, match="recorded nothing"):
        empty.start(1)
