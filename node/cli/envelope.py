"""How every command ends: in words or, with `--json`, one line on standard output; and a meaningful exit code."""

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

import click

from ledger.errors import QbftInvalid
from node.errors import ConfigurationError
from node.expected import Expected, first_expected
from node.printable import printable

SCHEMA = 1

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def conclude(
    command: Callable[[], dict[str, Any]], *, as_json: bool, show: Callable[[dict[str, Any]], None] | None = None
) -> NoReturn:
    """Run a command and exit: its result or its error goes to the user, in words or as an envelope.

    `show` puts the result in words; what it says is what the envelope holds, and nothing else.
    """
    try:
        data = command()
    except (KeyboardInterrupt, click.Abort):
        _leave("error", "interrupted", {"message": "interrupted"}, EXIT_INTERRUPTED, as_json=as_json)
    except Expected as error:
        _leave_with(error, as_json=as_json)
    except BaseExceptionGroup as group:
        _leave_with(first_expected(group), as_json=as_json)
    if show is not None and not as_json:
        show(printable(data))
    _leave("ok", "ok", data, EXIT_OK, as_json=as_json)


def _leave_with(error: Exception, *, as_json: bool) -> NoReturn:
    usage = isinstance(error, ConfigurationError | QbftInvalid)
    code = str(getattr(error, "code", "error"))
    data = {**getattr(error, "details", {}), "message": str(error)}
    _leave("error", code, data, EXIT_USAGE if usage else EXIT_FAILED, as_json=as_json)


def _leave(status: str, code: str, data: dict[str, Any], exit_code: int, *, as_json: bool) -> NoReturn:
    if as_json:
        envelope = {"schema": SCHEMA, "status": status, "code": code, "data": data}
        click.echo(json.dumps(envelope, sort_keys=True, allow_nan=False))
    elif status == "error":
        click.echo(f"error: {printable(data['message'])}  [{code}]", err=True)
    with suppress(BrokenPipeError):
        sys.stdout.flush()
    raise SystemExit(exit_code)
