"""From a source to a site's data: read, held against the study's schema, divided in parts."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from swarm.data.dataset import Part, SiteData
from swarm.data.misfits import Fault, Kind, Misfit, Refusal, Report
from swarm.data.records import Records
from swarm.data.source import DataSource, parse
from swarm.spec import StudySpec

FEWEST_ROWS = 2


def load(source: Mapping[str, Any] | DataSource, spec: StudySpec) -> SiteData:
    """Read one site's data and hold it against the study's schema.

    Raises DataError naming file, row and column; also where the training part has too few rows, or one class only
    and the source doesn't allow that. A test part may hold one class, or be empty.
    """
    chosen, report = parse(source) if isinstance(source, Mapping) else source, Refusal()
    train, test = chosen.divide(list(examine(chosen, spec, report)), spec)
    check_training_part(chosen, train, spec, report)
    return SiteData(train.dataset(spec.data, Part.TRAIN), test.dataset(spec.data, Part.TEST))


def examine(source: DataSource, spec: StudySpec, report: Report) -> Iterator[Records]:
    """Read what a source has and report every value that doesn't fit; raises DataError for what can't be read."""
    for records in source.read(spec, report):
        records.check(spec.data, report)
        yield records


def check_training_part(source: DataSource, train: Records, spec: StudySpec, report: Report) -> None:
    """Report a training part that is too small for the study, or of one class where the source doesn't allow that."""
    fewest = max(FEWEST_ROWS, spec.privacy.min_samples)
    if len(train) < fewest:
        text = f"the training part has {len(train)} records; this study needs {fewest} at least"
        report.add(Misfit(train.origin, Fault(Kind.TOO_FEW_RECORDS, text, str(len(train)), f"{fewest} or more")))
    present = np.unique(train.labels).tolist() if spec.data.classes else []
    if len(present) == 1 and not source.allow_one_class:
        name = spec.data.classes[present[0]]
        text = (
            f"every record of the training part is of the class {name!r};"
            " set data.allow_one_class to take part all the same"
        )
        report.add(Misfit(train.origin, Fault(Kind.ONE_CLASS, text, repr(name), "two classes or more")))
