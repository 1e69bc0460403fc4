"""Small studies and data that the learning's tests share."""

import os
from pathlib import Path

import numpy as np
import pytest

from swarm.data import Dataset, Part, SiteData
from swarm.spec import StudySpec
from swarm.studies import draft

HEART_DISEASE = "heart_disease"


def tiny_spec(**sections: dict) -> StudySpec:
    """A binary study with two features; keyword arguments replace fields of sections."""
    record: dict = {
        "study": {"name": "tiny", "task": "binary"},
        "data": {"features": ["a", "b"], "label": "y", "classes": ["no", "yes"]},
        "model": {"architecture": "logistic"},
        "training": {"rounds": 3, "local_epochs": 2, "batch_size": 8, "learning_rate": 0.2},
        "merge": {"clip_norm": 10.0},
        "privacy": {"min_samples": 2},
        "round": {"min_sites": 2},
    }
    for name, fields in sections.items():
        record[name] = {**record.get(name, {}), **fields}
    return StudySpec.model_validate(record)


def image_spec(**sections: dict) -> StudySpec:
    """A study of 2 x 8 x 8 images in three classes."""
    return tiny_spec(
        **{
            "study": {"name": "images", "task": "multiclass"},
            "data": {"features": [], "shape": [2, 8, 8], "classes": ["p", "q", "r"]},
            "model": {"architecture": "cnn", "parameters": {"channels": [4], "hidden": 8}},
            **sections,
        }
    )


def tiny_dataset(rows: int = 40, seed: int = 0, part: Part = Part.TRAIN, *, shift: float = 0.0) -> Dataset:
    """Rows whose label depends on the features, with noise."""
    draw = np.random.default_rng(seed)
    features = draw.normal(shift, 1.0 + seed, (rows, 2)).astype(np.float32)
    labels = (features[:, 0] - features[:, 1] + draw.normal(0, 0.5, rows) > 0).astype(np.int64)
    labels[:2] = (0, 1)
    return Dataset(features, labels, ("a", "b"), part)


def tiny_site(seed: int = 0, rows: int = 40) -> SiteData:
    return SiteData(tiny_dataset(rows, seed, shift=seed), tiny_dataset(rows, seed + 100, Part.TEST))


def tiny_sites(count: int = 3) -> dict[str, SiteData]:
    return {f"site-{number}": tiny_site(number, 30 + 7 * number) for number in range(count)}


def image_dataset(rows: int = 24, seed: int = 0, part: Part = Part.TRAIN) -> Dataset:
    """Images whose class is where they are bright."""
    draw = np.random.default_rng(seed)
    labels = np.arange(rows, dtype=np.int64) % 3
    images = draw.normal(0, 1, (rows, 2, 8, 8)).astype(np.float32)
    for row, label in enumerate(labels):
        images[row, :, 2 * label : 2 * label + 2] += 3
    return Dataset(images.reshape(rows, -1), labels, (), part)


def breast_cancer_spec(seed: int = 0, **training: object) -> StudySpec:
    record = draft("breast-cancer").model_dump(mode="json")
    record["training"].update(seed=seed, **training)
    return StudySpec.model_validate(record)


def heart_disease_folder() -> Path:
    """The folder with the hospitals' files: from $SWARM_TEST_DATA, or shared/data beside the checkout."""
    given = os.environ.get("SWARM_TEST_DATA")
    root = Path(given) if given else Path(__file__).resolve().parents[3] / "shared" / "data"
    for folder in (root, root / HEART_DISEASE):
        if (folder / "processed.cleveland.data").is_file():
            return folder
    pytest.skip(f"UCI heart disease is not in {root}; set SWARM_TEST_DATA to a folder with the processed.*.data files")
