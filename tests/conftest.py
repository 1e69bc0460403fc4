"""Settings of all tests."""

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

# An example may take as long as a busy machine needs: a test that measures time fails for two reasons.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """A command that a test runs in this process sets the log up for a process of its own."""
    yield
    structlog.reset_defaults()
