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


@pytest.fixture(autouse=True)
def _unmeasured_swarms(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Coverage isn't measured in the processes of slow tests: whole swarms would need half as much CPU time again."""
    if request.node.get_closest_marker("slow"):
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
