"""Parquet files: one plain column for each feature and the label, by name."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from swarm.data.misfits import Fault, Kind, Misfit, Report
from swarm.data.records import Records, arrange
from swarm.data.rules import NO_VALUE, UNKNOWN, class_index
from swarm.data.table import row_limit, table_columns
from swarm.errors import DataError
from swarm.spec import DataSection

if TYPE_CHECKING:
    import pyarrow

BATCH_ROWS = 16_384
MAX_UNPACKED_BYTES = 1 << 34
MAX_FOOTER_BYTES = 1 << 26


def read_parquet(path: Path, schema: DataSection, report: Report) -> Records:
    """Read a Parquet file whose columns are the study's features and label, in any order; others are not read.

    Features, and the label of a regression, are columns of numbers, decimals or booleans. A class is a text or a whole
    number, written as the study names it. Rows count from 1. Raises DataError for what is no such file.
    """
    import pyarrow  # a tenth of a second and a large library, which other sources do without
    from pyarrow import parquet

    columns = table_columns(path, schema)
    try:
        with parquet.ParquetFile(
            path,
            read_dictionary=[schema.label],  # a long text that repeats is kept once
            thrift_string_size_limit=MAX_FOOTER_BYTES,
            thrift_container_size_limit=MAX_FOOTER_BYTES,
        ) as file:
            return _read(path, file, columns, schema, report)
    except DataError:
        raise
    except (pyarrow.ArrowException, OSError, KeyError, ValueError) as error:
        raise DataError(f"{path} is not a Parquet file, or is damaged: {_first_line(error)}") from None


def _read(path: Path, file: Any, columns: list[str], schema: DataSection, report: Report) -> Records:
    """Read batch by batch into arrays of the file's length; a column that can't be used is reported and stays NaN."""
    arrow = file.schema_arrow
    names = arrow.names
    wanted = [
        column
        for column, place in zip(columns, arrange(names, columns, str(path), report), strict=True)
        if place is not None
        and names.count(column) == 1
        and _usable(path, column, arrow.field(place).type, schema, report)
    ]
    rows = _checked_size(path, file, len(columns))
    table = np.full((rows, len(columns) - 1), np.nan)
    classes = bool(schema.classes)
    labels = np.full(rows, UNKNOWN, np.int64) if classes else np.full(rows, np.nan)
    start = 0
    for batch in file.iter_batches(BATCH_ROWS, columns=wanted, use_threads=False) if wanted else ():
        batch.validate(full=True)  # pyarrow doesn't look at a damaged file's offsets and indices by itself
        stop = start + len(batch)
        if stop > rows:
            raise DataError(f"{path} holds more rows than the {rows} that it declares")
        for column in wanted:
            values = batch.column(column)
            if column != schema.label:
                table[start:stop, columns.index(column)] = _numbers(path, column, values, start, report)
            elif classes:
                labels[start:stop] = _classes(path, column, values, start, schema, report)
            else:
                labels[start:stop] = _numbers(path, column, values, start, report)
        start = stop
    if wanted and start != rows:
        raise DataError(f"{path} holds {start} rows where it declares {rows}")
    return Records(table, labels, str(path), np.arange(1, rows + 1, dtype=np.int64))


def _usable(path: Path, column: str, kind: "pyarrow.DataType", schema: DataSection, report: Report) -> bool:
    """Report a column whose type can't be read, by its name."""
    import pyarrow.types as types

    is_class = column == schema.label and bool(schema.classes)
    plain = kind.value_type if types.is_dictionary(kind) else kind
    number: Sequence[Callable[[Any], bool]] = (
        types.is_integer,
        types.is_floating,
        types.is_boolean,
        types.is_decimal,
        types.is_null,
    )
    text: Sequence[Callable[[Any], bool]] = (types.is_string, types.is_large_string, types.is_integer, types.is_null)
    if any(fits(plain) for fits in (text if is_class else number)):
        return True
    expected = "text or whole numbers" if is_class else "numbers"
    fault = Fault(
        Kind.COLUMN_TYPE, f"the column {column!r} is of the type {str(plain)[:64]}, not of {expected}", "", expected
    )
    report.add(Misfit(str(path), fault, column))
    return False


def _checked_size(path: Path, file: Any, columns: int) -> int:
    """Give the number of rows, from the file's footer; raises DataError for none, or more than are read.

    The sizes of single columns aren't asked for: in a damaged footer pyarrow ends the process over them.
    """
    footer, limit = file.metadata, row_limit(columns)
    if footer.num_rows > limit:
        raise DataError(f"{path} has more than {limit} rows")
    if footer.num_rows < 1:
        raise DataError(f"{path} holds no records")
    size = sum(footer.row_group(group).total_byte_size for group in range(footer.num_row_groups))
    if size > MAX_UNPACKED_BYTES:
        raise DataError(
            f"{path} unpacks to {size} bytes; at most {MAX_UNPACKED_BYTES} are read: export the study's columns alone"
        )
    return int(footer.num_rows)


def _numbers(path: Path, column: str, values: "pyarrow.Array", start: int, report: Report) -> NDArray[np.float64]:
    """Give a column's numbers; NaN for what is missing or not finite, and reported."""
    import pyarrow

    plain = values.dictionary_decode() if isinstance(values, pyarrow.DictionaryArray) else values
    if pyarrow.types.is_boolean(plain.type):
        plain = plain.cast(pyarrow.uint8())
    # not a safe cast: whole numbers past 2^53 are rounded, as a CSV file's are
    numbers: NDArray[np.float64] = np.array(plain.cast(pyarrow.float64(), safe=False).to_numpy(zero_copy_only=False))
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        report.add(Misfit.among(str(path), column, bad + (start + 1), lambda _: NO_VALUE))
    numbers[bad] = np.nan
    return numbers


def _classes(
    path: Path, column: str, values: "pyarrow.Array", start: int, schema: DataSection, report: Report
) -> NDArray[np.int64]:
    """Give a column's classes; UNKNOWN for what is reported. Each text that occurs is looked at once."""
    import pyarrow

    coded = values if isinstance(values, pyarrow.DictionaryArray) else values.dictionary_encode()
    texts = ["" if text is None else str(text) for text in coded.dictionary.to_pylist()]
    found = [class_index(text, schema.classes) for text in [*texts, ""]]  # the last one stands for no value
    codes = coded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False).astype(np.int64)
    for kind in (Kind.MISSING, Kind.UNKNOWN_CLASS):
        faults = {code: fault for code, fault in enumerate(found) if isinstance(fault, Fault) and fault.kind == kind}
        rows = np.flatnonzero(np.isin(codes, list(faults)))
        if len(rows):
            described = partial(_fault_of_row, faults, codes[rows])
            report.add(Misfit.among(str(path), column, rows + (start + 1), described))
    indices = np.array([UNKNOWN if isinstance(index, Fault) else index for index in found], np.int64)
    chosen: NDArray[np.int64] = indices[codes]
    return chosen


def _fault_of_row(faults: Mapping[int, Fault], codes: NDArray[np.int64], index: int) -> Fault:
    return faults[int(codes[index])]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
