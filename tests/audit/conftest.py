from collections.abc import Iterator

import pytest
from audit_world import World, play_study
from forgery import head_of

from ledger.audit.bundle.content import Bundle
from ledger.audit.bundle.export import make_bundle
from ledger.devnet import Devnet


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Devnet.start(tmp_path_factory.mktemp("audited")) as devnet:
        yield play_study(devnet)


@pytest.fixture(scope="session")
def bundle(world: World) -> Bundle:
    """The honest bundle, with all blobs."""
    return make_bundle(world.reader, world.study, [world.store], blobs=True)


@pytest.fixture(scope="session")
def anchor(bundle: Bundle) -> bytes:
    """What another member says the last block's hash is."""
    return head_of(bundle)
