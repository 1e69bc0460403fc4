"""UCI heart disease: four hospitals, prepared and split as FLamby does (Ogier du Terrail et al. 2022).

Of the 14 columns, slope, ca and thal are left out (mostly missing outside Cleveland), and so is each patient with a
missing value: 740 of 920 remain (303, 261, 46 and 130). Chest pain and resting ECG are one-hot encoded without their
first category, which makes 13 inputs. Two thirds of each hospital's patients are for training.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from swarm.data.dataset import Rows
from swarm.data.misfits import Fault, Kind, Misfit, Report
from swarm.data.records import Records, arrange, select
from swarm.data.rules import number
from swarm.data.table import check_size
from swarm.errors import DataError
from swarm.spec import DataSection

CENTERS = ("cleveland", "hungarian", "switzerland", "va")
CLASSES = ("no disease", "disease")
COLUMNS = ("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak")
CATEGORIES = {"cp": (1, 2, 3, 4), "restecg": (0, 1, 2)}
FEATURES = tuple(column for column in COLUMNS if column not in CATEGORIES) + tuple(
    f"{column}_{category}" for column, categories in CATEGORIES.items() for category in categories[1:]
)
FIELDS = 14
TRAIN_FRACTION = 0.66
FLAMBY_SEED = 43
MAX_BYTES = 1 << 20


def read_heart_disease(folder: Path, center: str, schema: DataSection, report: Report) -> Records:
    """Read one hospital's complete records; raises DataError for what is no such file."""
    path = folder / f"processed.{center}.data"
    if schema.classes != CLASSES:
        raise DataError(f"heart-disease: the study's classes must be {', '.join(CLASSES)}")
    order = arrange(FEATURES, [feature.name for feature in schema.features], "heart-disease", report)
    rows: list[list[float]] = []
    labels: list[int] = []
    lines: list[int] = []
    for line, fields in enumerate(_fields(path), 1):
        if not fields:
            continue
        values = _values(path, line, fields, report)
        if values:
            rows.append(_encode(values[:-1]))
            labels.append(int(values[-1] > 0))
            lines.append(line)
    if not rows:
        raise DataError(f"{path} holds no complete records")
    return Records(select(np.array(rows), order), np.array(labels, np.int64), str(path), np.array(lines, np.int64))


def split_like_flamby(labels: NDArray[np.int64], seed: int = FLAMBY_SEED) -> tuple[Rows, Rows]:
    """Give training and test rows: FLamby's own split for its seed, another one for another seed.

    Stratified where each class has more than two patients. Switzerland's only healthy patient of 46 is in the test
    part with FLamby's seed, so that its training part has one class.
    """
    from sklearn.model_selection import train_test_split  # a second of imports that other sources do without

    counts = np.unique(labels, return_counts=True)[1]
    train, test = train_test_split(
        np.arange(len(labels), dtype=np.int64),
        test_size=1.0 - TRAIN_FRACTION,
        train_size=TRAIN_FRACTION,
        random_state=seed,
        shuffle=True,
        stratify=labels if len(counts) > 1 and counts.min() > 2 else None,
    )
    return np.sort(train), np.sort(test)


def _fields(path: Path) -> list[list[str]]:
    check_size(path)
    try:
        with path.open(encoding="ascii") as file:
            text = file.read(MAX_BYTES + 1)
    except UnicodeDecodeError:
        raise DataError(f"{path} is not the UCI file: it isn't plain text") from None
    except OSError as error:
        raise DataError(f"can't read {path}: {error.strerror}") from None
    if len(text) > MAX_BYTES:
        raise DataError(f"{path} is not the UCI file: it has more than {MAX_BYTES} bytes")
    return [[field.strip() for field in line.split(",")] if line.strip() else [] for line in text.splitlines()]


def _values(path: Path, line: int, fields: list[str], report: Report) -> list[float]:
    """Read one patient's kept columns; none where a value is missing, and none where one is reported."""
    if len(fields) != FIELDS:
        text = f"{len(fields)} values where {FIELDS} are expected"
        fault = Fault(Kind.ROW_LENGTH, text, str(len(fields)), f"{FIELDS} values")
        report.add(Misfit.at(str(path), line, "", fault))
        return []
    kept = fields[: len(COLUMNS)] + fields[-1:]
    if "?" in kept:
        return []
    read = [(column, _value(column, text)) for column, text in zip((*COLUMNS, "num"), kept, strict=True)]
    for column, value in read:
        if isinstance(value, Fault):
            report.add(Misfit.at(str(path), line, column, value))
    values = [value for _, value in read if not isinstance(value, Fault)]
    return values if len(values) == len(read) else []


def _value(column: str, text: str) -> float | Fault:
    value = number(text)
    allowed = CATEGORIES.get(column, (0, 1, 2, 3, 4) if column == "num" else ())
    if allowed and not isinstance(value, Fault) and value not in allowed:
        listed = ", ".join(map(str, allowed))
        return Fault(Kind.UNKNOWN_CATEGORY, f"{value:g} is not one of {listed}", f"{value:g}", listed)
    return value


def _encode(values: list[float]) -> list[float]:
    plain = [value for column, value in zip(COLUMNS, values, strict=True) if column not in CATEGORIES]
    given = dict(zip(COLUMNS, values, strict=True))
    hot = [float(given[column] == category) for column, categories in CATEGORIES.items() for category in categories[1:]]
    return plain + hot
