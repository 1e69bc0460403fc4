"""One chain for all of these tests; each founds its own consortium on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from operator_world import NAMES, World

from ledger.devnet import Devnet


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    with Devnet.start(tmp_path_factory.mktemp("chain")) as devnet:
        yield devnet


@pytest.fixture
def world(chain: Devnet, tmp_path: Path) -> World:
    return World(chain, tmp_path)


@pytest.fixture
def consortium(world: World) -> World:
    """The three sites, all of them members."""
    world.found(*NAMES)
    return world
