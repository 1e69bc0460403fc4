"""Settings of all tests."""

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

# An example may take as long as a busy machine needs: a test that measures time fails for two reasons.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests first: whichever worker is left with one at the end would keep the others waiting."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


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
