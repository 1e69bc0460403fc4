"""The rules that single values must fit, whatever file they come from."""

from collections.abc import Sequence
from math import isfinite, nan

import numpy as np
from numpy.typing import NDArray

from swarm.data.misfits import Fault, Kind, shown
from swarm.spec import DataSection, Feature

MISSING = {"", "?", "na", "n/a", "nan", "null", "none"}
UNKNOWN = -1
"""Stands for a class that the study doesn't have, once that is reported."""

NO_VALUE = Fault(Kind.MISSING, "the value is missing or not finite", expected="a number")

Bad = NDArray[np.bool_]


def number(text: str) -> float | Fault:
    """Read a finite decimal number, or say what is wrong with it."""
    text = text.strip()
    if text.lower() in MISSING:
        return Fault(Kind.MISSING, "the value is missing", expected="a number")
    try:
        value = float(text) if "_" not in text else nan
    except ValueError:
        return Fault(Kind.NOT_A_NUMBER, f"{shown(text)} is not a number", shown(text), "a number")
    if not isfinite(value):
        return Fault(Kind.NOT_A_NUMBER, f"{shown(text)} is not a finite number", shown(text), "a number")
    return value


def class_index(text: str, classes: Sequence[str]) -> int | Fault:
    """Give the index of a class that is written as the study names it, or say what is wrong with it."""
    text = text.strip()
    if text in classes:
        return classes.index(text)
    listed = ", ".join(classes)
    if text.lower() in MISSING:
        return Fault(Kind.MISSING, "the label is missing", "", listed)
    return Fault(Kind.UNKNOWN_CLASS, f"{shown(text)} is not one of the classes {listed}", shown(text), listed)


def cell(text: str, column: str, schema: DataSection) -> float | Fault:
    """Read one cell of a table: a class's index in the label's column of a classification, else a number."""
    return class_index(text, schema.classes) if column == schema.label and schema.classes else number(text)


def outside(values: NDArray[np.floating], feature: Feature) -> Bad:
    """Say which values are outside the feature's range; NaN is reported elsewhere and never is."""
    low, high = feature.range or (-np.inf, np.inf)
    found: Bad = (values < low) | (values > high)
    return found


def outside_fault(value: float, feature: Feature) -> Fault:
    """Describe a value that is outside."""
    low, high = feature.range or (-np.inf, np.inf)
    expected = f"{low:g} to {high:g} {feature.unit}".rstrip()
    return Fault(Kind.OUT_OF_RANGE, f"{value:g} is outside {expected}", f"{value:g}", expected)


def uncategorised(values: NDArray[np.floating], feature: Feature) -> Bad:
    """Say which values are none of the feature's categories, where it has any."""
    if not feature.categories:
        return np.zeros(len(values), np.bool_)
    found: Bad = ~(np.isin(values, feature.categories) | np.isnan(values))
    return found


def uncategorised_fault(value: float, feature: Feature) -> Fault:
    """Describe a value that is none of the categories."""
    expected = ", ".join(f"{category:g}" for category in feature.categories)
    return Fault(Kind.UNKNOWN_CATEGORY, f"{value:g} is not one of {expected}", f"{value:g}", expected)


def too_large(values: NDArray[np.floating]) -> Bad:
    """Say which finite values become infinite as 32-bit floats."""
    with np.errstate(over="ignore"):
        found: Bad = np.isfinite(values) & ~np.isfinite(values.astype(np.float32, copy=False))
    return found


def too_large_fault(value: float) -> Fault:
    """Describe a value that is too large."""
    return Fault(Kind.OUT_OF_RANGE, "the value doesn't fit a 32-bit float", f"{value:g}", "a 32-bit float")


def index_fault(label: int, classes: Sequence[str]) -> Fault:
    """Describe a class index that no class has."""
    expected = f"a class index from 0 to {len(classes) - 1}"
    return Fault(Kind.UNKNOWN_CLASS, f"{label} is not {expected}", str(label), expected)
