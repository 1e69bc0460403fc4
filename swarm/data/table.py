"""Tables of comma-separated values with a header line."""

import csv
from collections.abc import Iterator
from math import isfinite
from pathlib import Path

import numpy as np

from swarm.data.dataset import MAX_ROWS, MAX_VALUES
from swarm.data.records import Records, arrange
from swarm.errors import DataError
from swarm.spec import DataSection

MAX_FILE_BYTES = 1 << 32
MISSING = {"", "?", "na", "n/a", "nan", "null", "none"}


def read_csv(path: Path, schema: DataSection) -> Records:
    """Read a CSV file whose columns are the study's features and label, in any order.

    A class is written as the study names it. Raises DataError naming file, line and column.
    """
    if not schema.features:
        raise DataError(f"{path}: this study's records are arrays; give an NPZ file")
    check_size(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _read(path, csv.reader(file, strict=True), schema)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8: {error}") from None
    except OSError as error:
        raise DataError(f"can't read {path}: {error.strerror}") from None


def check_size(path: Path) -> None:
    """Refuse a file that isn't there or is too large; raises DataError."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"can't read {path}: {error.strerror}") from None
    if size > MAX_FILE_BYTES:
        raise DataError(f"{path} has {size} bytes; at most {MAX_FILE_BYTES} are read")


def number(text: str) -> float:
    """Read a finite decimal number; raises DataError saying what is wrong with it."""
    text = text.strip()
    if text.lower() in MISSING:
        raise DataError("the value is missing")
    try:
        value = float(text) if "_" not in text else float("nan")
    except ValueError:
        raise DataError(f"{text[:64]!r} is not a number") from None
    if not isfinite(value):
        raise DataError(f"{text[:64]!r} is not a finite number")
    return value


def _read(path: Path, reader: "Iterator[list[str]]", schema: DataSection) -> Records:
    header = [name.strip() for name in next(reader, [])]
    if not header:
        raise DataError(f"{path} is empty: the first line must name the columns")
    columns = [feature.name for feature in schema.features] + [schema.label]
    places = arrange(header, columns, str(path))
    limit = min(MAX_ROWS, MAX_VALUES // len(columns))
    features: list[list[float]] = []
    labels: list[float] = []
    lines: list[int] = []
    for row in reader:
        line: int = reader.line_num  # type: ignore[attr-defined]
        if not row:
            continue
        if len(row) != len(header):
            raise DataError(f"{path}, row {line}: {len(row)} values where the header has {len(header)}")
        if len(lines) == limit:
            raise DataError(f"{path} has more than {limit} rows")
        cells = [_cell(path, line, column, row[place], schema) for column, place in zip(columns, places, strict=True)]
        features.append(cells[:-1])
        labels.append(cells[-1])
        lines.append(line)
    if not lines:
        raise DataError(f"{path} holds no records")
    kind = np.int64 if schema.classes else np.float64
    return Records(np.array(features), np.array(labels, kind), str(path), np.array(lines, np.int64))


def _cell(path: Path, line: int, column: str, text: str, schema: DataSection) -> float:
    try:
        return _class(text, schema) if column == schema.label and schema.classes else number(text)
    except DataError as error:
        raise DataError(f"{path}, row {line}, column {column!r}: {error}") from None


def _class(text: str, schema: DataSection) -> int:
    text = text.strip()
    if text in schema.classes:
        return schema.classes.index(text)
    if text.lower() in MISSING:
        raise DataError("the label is missing")
    raise DataError(f"{text[:64]!r} is not one of the classes {', '.join(schema.classes)}")
