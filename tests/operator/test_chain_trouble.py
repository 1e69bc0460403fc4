"""What an operator is told where the site's Ethereum node is unwell."""

from collections.abc import Iterator

import pytest
from operator_world import World, done, refused, swarm_node

from node import config
from node.config import NodeConfig
from tests.ledger.faulty_endpoint import FaultyEndpoint, RpcFault


@pytest.fixture
def node(world: World) -> Iterator[FaultyEndpoint]:
    """The site's own Ethereum node, which its configuration names."""
    world.found("ada")
    with FaultyEndpoint(world.devnet.ipc) as endpoint:
        configure(world, rpc=endpoint.url)
        yield endpoint


def configure(world: World, **fields: object) -> NodeConfig:
    file = world.home("ada") / "config.toml"
    before = config.load(world.home("ada")).model_dump(mode="json", exclude_none=True)
    made = config.validate({**before, "rpc_seconds": 0.3, "rpc_head_seconds": 1, **fields}, "here")
    file.write_bytes(config.render(made))
    return made


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (RpcFault.IS_DOWN, "Connection refused; is it running?"),
        (RpcFault.STALLS, "no answer in time; is it running?"),
        (RpcFault.DROPS, "is it running?"),
    ],
)
def test_status_says_that_the_node_does_not_answer(
    world: World, node: FaultyEndpoint, fault: RpcFault, says: str
) -> None:
    node.set(fault)
    code, message = refused("status", "--home", world.home("ada"))
    assert code == "ledger.rpc.unreachable"
    assert node.url in message
    assert says in message
    node.set(None)
    assert done("status", "--home", world.home("ada"))["member"]


def test_status_says_that_the_node_is_behind(world: World, node: FaultyEndpoint) -> None:
    node.set(RpcFault.IS_STALE)
    while not (said := done("status", "--home", world.home("ada"))["chain"]["trouble"]):
        pass  # until the newest block that it gives is a second old
    assert "the chain's node is behind" in said
    assert "the chain's node is behind" in swarm_node("status", "--home", world.home("ada")).stdout


def test_commands_go_on_by_the_next_node(world: World, node: FaultyEndpoint) -> None:
    with FaultyEndpoint(world.devnet.ipc) as second:
        configure(world, rpc=[node.url, second.url], rpc_head_seconds=60)
        node.set(RpcFault.IS_DOWN)
        assert done("status", "--home", world.home("ada"))["chain"]["trouble"] == ""
        assert node.asked.total() == 0
        assert second.asked.total() > 0
