"""NumPy archives (.npz) with the arrays `x` and `y`, and maybe `x_test` and `y_test`."""

import zipfile
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm.data.dataset import MAX_ROWS, MAX_VALUES
from swarm.data.misfits import Fault, Misfit, Report
from swarm.data.records import Records
from swarm.data.rules import UNKNOWN, class_index
from swarm.data.table import check_size
from swarm.errors import DataError
from swarm.spec import DataSection

ARRAYS = {"x", "y", "x_test", "y_test"}
MAX_ARCHIVE_BYTES = 8 * (MAX_VALUES + MAX_ROWS)


def read_npz(path: Path, schema: DataSection, report: Report) -> Iterator[Records]:
    """Read the records, and those of a held-out part if the archive has one.

    `x` is [n, features] in the study's order or [n, *shape], `y` holds class indices or names, or numbers in a
    regression. Raises DataError for an archive that is of no such arrays.
    """
    arrays = _load(path)
    unknown = sorted(set(arrays) - ARRAYS)
    if unknown:
        raise DataError(f"{path}: unknown array {unknown[0]!r}; the arrays are {', '.join(sorted(ARRAYS))}")
    yield _records(path, arrays, "x", "y", schema, report)
    if {"x_test", "y_test"} & set(arrays):
        yield _records(path, arrays, "x_test", "y_test", schema, report)


def _load(path: Path) -> dict[str, NDArray[Any]]:
    check_size(path)
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_ARCHIVE_BYTES:
            raise DataError(f"{path} unpacks to {size} bytes; at most {MAX_ARCHIVE_BYTES} are read")
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"can't read {path}: {error.strerror or error}") from None
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError) as error:
        raise DataError(f"{path} is not a NumPy archive of plain numbers: {error}") from None


def _records(
    path: Path, arrays: Mapping[str, NDArray[Any]], x: str, y: str, schema: DataSection, report: Report
) -> Records:
    for name in (x, y):
        if name not in arrays:
            raise DataError(f"{path}: the array {name!r} is missing")
    features, labels = arrays[x], arrays[y]
    shape = (len(schema.features),) if schema.features else schema.shape
    if features.ndim < 2 or features.shape[1:] != shape:
        raise DataError(
            f"{path}: {x} has the shape {features.shape}; the study's is (records, {', '.join(map(str, shape))})"
        )
    if labels.shape != features.shape[:1]:
        raise DataError(f"{path}: {y} has the shape {labels.shape} where {x} has {len(features)} records")
    if len(features) > MAX_ROWS or features.size > MAX_VALUES:
        raise DataError(f"{path}: {x} has more than {MAX_ROWS} records or {MAX_VALUES} values")
    if not len(features):
        raise DataError(f"{path}: {x} holds no records")
    if features.dtype.kind not in "fiub":
        raise DataError(f"{path}: {x} is of the type {features.dtype}, not of numbers")
    table = features.reshape(len(features), prod(shape)).astype(np.float64)
    places = np.arange(1, len(features) + 1, dtype=np.int64)
    origin = f"{path} ({x})"
    records = Records(table, _labels(path, y, labels, schema, report), origin, places)
    records.check_present(schema, report)
    if schema.classes and labels.dtype.kind != "U":
        records.check_indices(schema, report)
    return records


def _labels(path: Path, name: str, labels: NDArray[Any], schema: DataSection, report: Report) -> NDArray[Any]:
    if not schema.classes:
        if labels.dtype.kind not in "fiu":
            raise DataError(f"{path}: {name} is of the type {labels.dtype}, not of numbers")
        return labels.astype(np.float64)
    if labels.dtype.kind == "U":
        return _named_classes(path, name, labels, schema, report)
    if labels.dtype.kind not in "iub":
        raise DataError(f"{path}: {name} is of the type {labels.dtype}; it must hold class indices or class names")
    return labels.astype(np.int64)


def _named_classes(
    path: Path, name: str, labels: NDArray[Any], schema: DataSection, report: Report
) -> NDArray[np.int64]:
    indices = np.empty(len(labels), np.int64)
    for row, label in enumerate(labels.tolist()):
        index = class_index(label, schema.classes)
        if isinstance(index, Fault):
            report.add(Misfit.at(str(path), row + 1, name, index))
            index = UNKNOWN
        indices[row] = index
    return indices
