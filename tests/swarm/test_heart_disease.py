"""Fed-Heart-Disease: the real four hospitals, where their files are at hand."""

import numpy as np
import pytest
from learning_samples import heart_disease_folder

from swarm.data import load
from swarm.data.fetch import DATA_SETS
from swarm.data.heart_disease import CENTERS
from swarm.evaluation import compare
from swarm.simulation import run
from swarm.studies import draft


@pytest.fixture(scope="module")
def hospitals():
    folder, spec = heart_disease_folder(), draft("heart-disease")
    return {
        center: load({"source": "heart-disease", "path": str(folder), "center": center}, spec) for center in CENTERS
    }


def test_the_files_are_the_pinned_ones():
    folder = heart_disease_folder()
    assert all(file.is_at(folder / file.name) for file in DATA_SETS["heart-disease"].files)


def test_flambys_patients_and_split(hospitals):
    sizes = {name: (len(data.train), len(data.test)) for name, data in hospitals.items()}
    assert sizes == {"cleveland": (199, 104), "hungarian": (172, 89), "switzerland": (30, 16), "va": (85, 45)}
    positives = {name: (data.train.support(2)[1], data.test.support(2)[1]) for name, data in hospitals.items()}
    assert positives == {"cleveland": (91, 48), "hungarian": (65, 33), "switzerland": (30, 15), "va": (66, 35)}


def test_the_swarm_beats_flambys_federations(hospitals):
    compared = compare(draft("heart-disease"), hospitals)
    majority = np.mean([max(data.test.support(2)) / len(data.test) for data in hospitals.values()])
    assert compared.mean("swarm", "accuracy") >= 0.78 > majority
    assert compared.mean("swarm", "balanced_accuracy") >= 0.75
    assert compared.mean("swarm", "auc") >= 0.84
    for metric in ("balanced_accuracy", "auc"):
        assert compared.mean("swarm", metric) > compared.mean("local", metric)


def test_the_clip_is_felt_and_does_not_rule(hospitals):
    assert 0 < run(draft("heart-disease"), hospitals).clipped_share < 0.2
