"""Async tests run under trio: by a virtual clock and without threads in modules that say so, else by the real clock."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

LONGEST_SECONDS = 60


async def run_here(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """What stands in for `trio.to_thread.run_sync`: a virtual clock would run ahead of a thread."""
    await trio.lowlevel.checkpoint()
    return function(*args)


@pytest.fixture(autouse=True)
def _no_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if getattr(request.module, "VIRTUAL_CLOCK", False):
        monkeypatch.setattr(trio.to_thread, "run_sync", run_here)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    is_virtual = getattr(pyfuncitem.module, "VIRTUAL_CLOCK", False)

    async def bounded() -> None:
        with trio.fail_after(100_000 if is_virtual else LONGEST_SECONDS):
            await partial(pyfuncitem.obj, **arguments)()

    clock = MockClock(autojump_threshold=0) if is_virtual else None
    trio.run(bounded, clock=clock, strict_exception_groups=True)
    return True
