"""How every command ends: in words or, with `--json`, one line on standard output; and a meaningful exit code."""

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

import click

from ledger.errors import LedgerError, QbftInvalid
from node.errors import ConfigurationError, NodeError
from node.network.errors import NetworkError
from swarm.errors import SwarmError

SCHEMA = 1

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

Expected = (SwarmError, LedgerError, NetworkError, NodeError)


def conclude(command: Callable[[], dict[str, Any]], *, as_json: bool) -> NoReturn:
    """Run a command and exit: its result or its error goes to the user, in words or as an envelope."""
    try:
        data = command()
    except KeyboardInterrupt:
        _leave("error", "interrupted", {"message": "interrupted"}, EXIT_INTERRUPTED, as_json=as_json)
    except Expected as error:
        _leave_with(error, as_json=as_json)
    except BaseExceptionGroup as group:
        _leave_with(first_expected(group), as_json=as_json)
    _leave("ok", "ok", data, EXIT_OK, as_json=as_json)


def first_expected(group: BaseExceptionGroup[BaseException]) -> Exception:
    """The error that a user can act on, out of the group that a nursery raised; re-raises any other group."""
    matching = group.subgroup(Expected)
    if matching is None:
        raise group
    error: BaseException = matching
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, Exception):
        raise group
    return error


def _leave_with(error: Exception, *, as_json: bool) -> NoReturn:
    usage = isinstance(error, ConfigurationError | QbftInvalid)
    code = str(getattr(error, "code", "error"))
    _leave("error", code, {"message": str(error)}, EXIT_USAGE if usage else EXIT_FAILED, as_json=as_json)


def _leave(status: str, code: str, data: dict[str, Any], exit_code: int, *, as_json: bool) -> NoReturn:
    if as_json:
        envelope = {"schema": SCHEMA, "status": status, "code": code, "data": data}
        click.echo(json.dumps(envelope, sort_keys=True, allow_nan=False))
    elif status == "error":
        click.echo(f"error: {data['message']}  [{code}]", err=True)
    with suppress(BrokenPipeError):
        sys.stdout.flush()
    raise SystemExit(exit_code)
