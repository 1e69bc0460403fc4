"""Async tests run under trio, each within a time that no working test comes near."""

import inspect
from functools import partial

import pytest
import trio

LONGEST_SECONDS = 120


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}

    async def bounded() -> None:
        with trio.fail_after(LONGEST_SECONDS):
            await partial(pyfuncitem.obj, **arguments)()

    trio.run(bounded, strict_exception_groups=True)
    return True
