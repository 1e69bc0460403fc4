"""Image files: one sub-folder for each class, or an index that gives each file's label.

An index is a CSV file with the columns `file`, relative to the folder and with `/` between names, and `label`. Files
come in the order of their names; what lies outside the folder, in it or by a link, is never read.
"""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from math import nan
from pathlib import Path, PurePosixPath

import numpy as np

from swarm.data.dataset import MAX_VALUES
from swarm.data.misfits import Fault, Kind, Misfit, Report, listing, shown
from swarm.data.pixels import bad_file, read_image
from swarm.data.records import Records, arrange
from swarm.data.rules import UNKNOWN, cell, class_index
from swarm.data.table import check_size, csv_header, csv_rows, row_limit
from swarm.errors import DataError
from swarm.spec import DataSection

CHANNELS = (1, 3)
FILE, LABEL = "file", "label"
MAX_ENTRIES = 1_000_000


@dataclass(frozen=True, slots=True)
class Labelled:
    """A file's name in the folder, and its label: a class index, or a number."""

    name: str
    label: float


def read_images(folder: Path, index: Path | None, schema: DataSection, report: Report) -> Records:
    """Read images as [n, channels * height * width] in 0..1; see `pixels` for how each one is decoded.

    Raises DataError where the study's records are no images, and for a folder or index that can't be read.
    """
    channels, height, width = _shape(folder, schema)
    limit = min(row_limit(channels * height * width), MAX_ENTRIES)
    try:
        listed = _sorted_folder(folder, schema, limit, report) if index is None else []
        if index is not None:
            listed = _index(folder / index, schema, limit, report)
        root = folder.resolve(strict=True)
    except OSError as error:
        raise DataError(f"can't read {error.filename or folder}: {error.strerror}") from None
    if not listed:
        raise DataError(f"{folder} holds no images")
    features = np.full((len(listed), channels * height * width), nan, np.float32)
    for row, image in enumerate(listed):
        fault = _refused(root, image.name)
        pixels = fault or read_image(root / image.name, channels, height, width)
        if isinstance(pixels, Fault):
            report.add(Misfit.at(str(folder), image.name, "", pixels))
        else:
            features[row] = pixels.ravel()
    labels = np.array([image.label for image in listed])
    known = np.nan_to_num(labels, nan=UNKNOWN).astype(np.int64) if schema.classes else labels
    return Records(features, known, str(folder), np.array([image.name for image in listed], object))


def _shape(folder: Path, schema: DataSection) -> tuple[int, int, int]:
    if len(schema.shape) != 3 or schema.shape[0] not in CHANNELS:
        given = f"has the shape {schema.shape}" if schema.shape else "has named features"
        raise DataError(f"{folder}: images need a study of the shape (1 or 3, height, width); this one {given}")
    channels, height, width = schema.shape
    if channels * height * width > MAX_VALUES:
        raise DataError(f"{folder}: one image of the study has more than {MAX_VALUES} values")
    return channels, height, width


def _sorted_folder(folder: Path, schema: DataSection, limit: int, report: Report) -> list[Labelled]:
    """List the files of each class's sub-folder by name; a sub-folder of another name is reported."""
    if not schema.classes:
        raise DataError(f"{folder}: sub-folders name classes, and this study is a regression; give an index")
    unread: list[str] = []
    listed: list[Labelled] = []
    for name in _names(folder, unread):
        if not (folder / name).is_dir():
            unread.append(name)
            continue
        label = class_index(name, schema.classes)
        fault = _refused_folder(folder / name, label)
        if fault is not None:
            report.add(Misfit(str(folder), fault, values=(fault.value,)))
        elif not isinstance(label, Fault):
            listed += [Labelled(f"{name}/{file}", label) for file in _names(folder / name, unread)]
        if len(listed) > limit:
            raise DataError(f"{folder} has more than {limit} images")
    if unread:
        report.remark(f"{folder}: these files are hidden or in no class's folder, and are not read: {listing(unread)}")
    return listed


def _names(folder: Path, unread: list[str]) -> list[str]:
    """List a folder by name, without hidden files; raises DataError where there are too many."""
    names: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if len(names) >= MAX_ENTRIES:
                raise DataError(f"{folder} has more than {MAX_ENTRIES} files")
            names.append(entry.name)
    unread += sorted(name for name in names if name.startswith("."))
    return sorted(name for name in names if not name.startswith("."))


def _index(path: Path, schema: DataSection, limit: int, report: Report) -> list[Labelled]:
    """Read an index; a row whose label doesn't fit stays, and one that names a file again doesn't."""
    check_size(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            listed = list(_indexed(path, csv.reader(file, strict=True), schema, limit, report))
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8: {error}") from None
    return sorted(listed, key=lambda image: image.name)


def _indexed(
    path: Path, reader: "Iterator[list[str]]", schema: DataSection, limit: int, report: Report
) -> Iterator[Labelled]:
    header = csv_header(path, reader)
    file_place, label_place = arrange(header, (FILE, LABEL), str(path), report)
    if file_place is None:
        return
    seen: set[PurePosixPath] = set()
    for line, row in csv_rows(path, reader, len(header), report):
        name = row[file_place].strip()
        if PurePosixPath(name) in seen:
            fault = Fault(Kind.BAD_FILE, f"{shown(name)} is listed twice", shown(name), "each file once")
            report.add(Misfit.at(str(path), line, FILE, fault))
            continue
        if len(seen) == limit:
            raise DataError(f"{path} lists more than {limit} images")
        seen.add(PurePosixPath(name))
        label = nan if label_place is None else cell(row[label_place], schema.label, schema)
        if isinstance(label, Fault):
            report.add(Misfit.at(str(path), line, LABEL, label))
            label = nan
        yield Labelled(name, label)


def _refused_folder(path: Path, label: int | Fault) -> Fault | None:
    name = shown(path.name)
    if isinstance(label, Fault):
        text = f"the folder {name} is not named for one of the classes {label.expected}"
        return Fault(Kind.UNKNOWN_CLASS, text, name, label.expected)
    if path.is_symlink():
        return Fault(Kind.BAD_FILE, f"the folder {name} is a link; put the folder itself there", name, "a folder")
    return None


def _refused(root: Path, name: str) -> Fault | None:
    """Say why a file isn't opened: it isn't in the folder itself, or is no plain file."""
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts or not inside.parts or "\0" in name:
        return bad_file("it is not a path within the folder")
    try:
        if (root / inside).resolve() != root / inside:
            return bad_file("it is a link; put the file itself into the folder")
        if not (root / inside).is_file():
            missing = "it is no plain file" if (root / inside).exists() else "it doesn't exist"
            return bad_file(missing)
    except (OSError, RuntimeError) as error:
        return bad_file(f"it can't be opened ({error})")
    return None
