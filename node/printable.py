"""Text that strangers wrote, made fit for an operator's terminal."""

from typing import Any


def printable(value: Any) -> Any:
    """Replace what a terminal acts on, or what reorders a line, in a text or in all texts of a JSON value.

    Names and reasons come from the ledger, where anybody may write them. New lines stay.
    """
    match value:
        case str():
            return "".join(
                mark if mark.isprintable() or mark == "\n" else "\N{REPLACEMENT CHARACTER}" for mark in value
            )
        case dict():
            return {printable(key): printable(entry) for key, entry in value.items()}
        case list():
            return [printable(entry) for entry in value]
        case _:
            return value
