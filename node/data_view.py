"""What a check of local data found: plain values for the envelope, and tables for a terminal.

Every text that came from a file is printed as it stands, never as the terminal library's markup.
"""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from swarm.data.check import Check, PartSize, Summary
from swarm.data.misfits import SHOWN, Misfit


def record(found: Check) -> dict[str, Any]:
    """Give a check as plain values."""
    return {
        "fits": found.fits,
        "records": found.records,
        "parts": {name: _part_record(part) for name, part in (("train", found.train), ("test", found.test))},
        "misfits": [_misfit_record(misfit) for misfit in found.misfits],
        "remarks": list(found.remarks),
        "features": [_feature_record(feature) for feature in found.features],
    }


def show(found: Check, console: Console) -> None:
    """Print a check."""
    for origin in dict.fromkeys(misfit.origin for misfit in found.misfits):
        if origin:
            console.print(Text(origin), soft_wrap=True)
        console.print(_misfit_table([misfit for misfit in found.misfits if misfit.origin == origin]))
    for remark in found.remarks:
        console.print(Text(f"remark: {remark}"), soft_wrap=True)
    if found.train is not None and found.test is not None:
        console.print(_part_table(found.train, found.test))
    if found.features:
        console.print(_feature_table(found.features))
    console.print(f"{found.records} records read; " + ("all of them fit" if found.fits else "the data doesn't fit"))


def _part_record(part: PartSize | None) -> dict[str, Any] | None:
    return None if part is None else {"records": part.records, "support": dict(part.support)}


def _misfit_record(misfit: Misfit) -> dict[str, Any]:
    return {
        "origin": misfit.origin,
        "column": misfit.column,
        "kind": misfit.fault.kind.value,
        "count": misfit.count,
        "places": list(misfit.places),
        "values": list(misfit.values),
        "expected": misfit.fault.expected,
        "message": str(misfit),
    }


def _feature_record(feature: Summary) -> dict[str, Any]:
    return {
        "name": feature.name,
        "unit": feature.unit,
        "min": feature.minimum,
        "median": feature.median,
        "max": feature.maximum,
        "categories": dict(feature.categories),
    }


def _misfit_table(misfits: Iterable[Misfit]) -> Table:
    table = Table("column", "misfit", "count", "first places", "values there", "expected")
    for misfit in misfits:
        more = ", ..." if misfit.count > SHOWN else ""
        _add(
            table,
            misfit.column,
            misfit.fault.kind.value.replace("_", " "),
            str(misfit.count),
            ", ".join(map(_place, misfit.places)) + more,
            ", ".join(filter(None, misfit.values)),
            misfit.fault.expected if misfit.places else misfit.fault.text,
        )
    return table


def _part_table(train: PartSize, test: PartSize) -> Table:
    table = Table("part", "records")
    for name in train.support:
        table.add_column(Text(name))
    for name, part in (("train", train), ("test", test)):
        _add(table, name, str(part.records), *map(str, part.support.values()))
    return table


def _feature_table(features: Iterable[Summary]) -> Table:
    table = Table("feature", "unit", "min", "median", "max", "records of each category")
    for one in features:
        numbers = [f"{value:g}" for value in (one.minimum, one.median, one.maximum)]
        counts = ", ".join(f"{category}: {count}" for category, count in one.categories.items())
        _add(table, one.name, one.unit, *numbers, counts)
    return table


def _place(place: int | str) -> str:
    return str(place) if isinstance(place, int) else repr(place)


def _add(table: Table, *cells: str) -> None:
    table.add_row(*map(Text, cells))
