"""Wisconsin diagnostic breast cancer (569 patients, 30 features), as scikit-learn ships it.

The positive class is `malignant`: the label is turned round from scikit-learn's, where 1 is benign.
"""

import numpy as np

from swarm.data.misfits import Report
from swarm.data.records import Records, arrange, select
from swarm.errors import DataError
from swarm.spec import DataSection

CLASSES = ("benign", "malignant")
ORIGIN = "breast-cancer"


def read_breast_cancer(schema: DataSection, report: Report) -> Records:
    """Read all patients; raises DataError where the study's schema is another one."""
    from sklearn.datasets import load_breast_cancer  # a second of imports that other sources do without

    if schema.classes != CLASSES:
        raise DataError(f"{ORIGIN}: the study's classes must be {', '.join(CLASSES)}")
    bunch = load_breast_cancer()
    columns = arrange(bunch.feature_names.tolist(), [feature.name for feature in schema.features], ORIGIN, report)
    labels = 1 - bunch.target.astype(np.int64)
    return Records(select(bunch.data, columns), labels, ORIGIN, np.arange(1, len(labels) + 1, dtype=np.int64))
