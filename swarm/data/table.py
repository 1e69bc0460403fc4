"""Tables of comma-separated values with a header line."""

import csv
from collections.abc import Iterator
from math import nan
from pathlib import Path

import numpy as np

from swarm.data.dataset import MAX_ROWS, MAX_VALUES
from swarm.data.misfits import Fault, Kind, Misfit, Report
from swarm.data.records import Places, Records, arrange
from swarm.data.rules import UNKNOWN, cell
from swarm.errors import DataError
from swarm.spec import DataSection

MAX_FILE_BYTES = 1 << 32


def read_csv(path: Path, schema: DataSection, report: Report) -> Records:
    """Read a CSV file whose columns are the study's features and label, in any order; others are not read.

    A class is written as the study names it. Raises DataError for what is no such table.
    """
    columns = table_columns(path, schema)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _read(path, csv.reader(file, strict=True), columns, schema, report)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8: {error}") from None
    except OSError as error:
        raise DataError(f"can't read {path}: {error.strerror}") from None


def table_columns(path: Path, schema: DataSection) -> list[str]:
    """Name the columns that a table must have, the label last; raises DataError where none can be read."""
    if not schema.features:
        raise DataError(f"{path}: this study's records are arrays; give an NPZ file, or images")
    check_size(path)
    return [feature.name for feature in schema.features] + [schema.label]


def check_size(path: Path) -> None:
    """Refuse a file that isn't there or is too large; raises DataError."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"can't read {path}: {error.strerror}") from None
    if size > MAX_FILE_BYTES:
        raise DataError(f"{path} has {size} bytes; at most {MAX_FILE_BYTES} are read")


def row_limit(columns: int) -> int:
    """Give the most rows of so many columns that are read."""
    return min(MAX_ROWS, MAX_VALUES // columns)


def csv_rows(path: Path, reader: "Iterator[list[str]]", width: int, report: Report) -> Iterator[tuple[int, list[str]]]:
    """Give the rows after the header with their line numbers; those of another width are reported and left out."""
    for row in reader:
        line: int = reader.line_num  # type: ignore[attr-defined] # typeshed hides the reader's own class
        if row and len(row) != width:
            text = f"{len(row)} values where the header has {width}"
            fault = Fault(Kind.ROW_LENGTH, text, str(len(row)), f"{width} values")
            report.add(Misfit.at(str(path), line, "", fault))
        elif row:
            yield line, row


def csv_header(path: Path, reader: "Iterator[list[str]]") -> list[str]:
    """Read the header line; raises DataError where there is none."""
    header = [name.strip() for name in next(reader, [])]
    if not header:
        raise DataError(f"{path} is empty: the first line must name the columns")
    return header


def _read(
    path: Path, reader: "Iterator[list[str]]", columns: list[str], schema: DataSection, report: Report
) -> Records:
    header = csv_header(path, reader)
    places = arrange(header, columns, str(path), report)
    limit = row_limit(len(columns))
    rows: list[list[float]] = []
    lines: list[int] = []
    for line, row in csv_rows(path, reader, len(header), report):
        if len(lines) == limit:
            raise DataError(f"{path} has more than {limit} rows")
        rows.append(_values(path, line, row, columns, places, schema, report))
        lines.append(line)
    if not lines:
        raise DataError(f"{path} holds no records")
    table = np.array(rows)
    labels = np.nan_to_num(table[:, -1], nan=UNKNOWN).astype(np.int64) if schema.classes else table[:, -1]
    return Records(table[:, :-1], labels, str(path), np.array(lines, np.int64))


def _values(
    path: Path, line: int, row: list[str], columns: list[str], places: Places, schema: DataSection, report: Report
) -> list[float]:
    """Read the cells of one row; NaN stands for each one that is reported."""
    values = []
    for column, place in zip(columns, places, strict=True):
        value = nan if place is None else cell(row[place], column, schema)
        if isinstance(value, Fault):
            report.add(Misfit.at(str(path), line, column, value))
            value = nan
        values.append(value)
    return values
