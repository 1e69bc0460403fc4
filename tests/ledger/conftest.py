from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_world import World, found

from ledger.devnet import Devnet


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    with Devnet.start(tmp_path_factory.mktemp("devnet")) as running:
        yield running


@pytest.fixture
def own_devnet(tmp_path: Path) -> Iterator[Devnet]:
    """A devnet that a test may kill."""
    with Devnet.start(tmp_path / "devnet") as running:
        yield running


@pytest.fixture
def world(devnet: Devnet) -> World:
    """Four members on a fresh pair of contracts."""
    return found(devnet, 4)
