"""Local, swarm and pooled model side by side."""

import json

import numpy as np
import pytest
from learning_samples import breast_cancer_spec, tiny_dataset, tiny_sites, tiny_spec

from swarm.data import Part, SiteData, load
from swarm.evaluation import compare, simulated, train_alone
from swarm.simulation import run


def test_every_site_is_compared_on_its_own_test_part():
    sites = tiny_sites()
    compared = compare(tiny_spec(), sites)
    assert list(compared.sites) == list(sites)
    first = compared.sites["site-0"]
    assert (first.train, first.test, first.steps) == (30, 30, 3 * 2 * 4)
    for measured in (first.local, first.swarm, first.pooled):
        assert measured.metrics.n == 30
        assert measured.intervals == {}
    assert compared.together["swarm"].metrics.n == sum(len(data.test) for data in sites.values())
    assert compared.mean("swarm", "auc") == pytest.approx(
        np.mean([site.swarm.metrics.auc for site in compared.sites.values()])
    )


def test_the_swarms_model_is_the_one_that_was_given():
    spec, sites = tiny_spec(), tiny_sites()
    vector, agreed = simulated(run(spec, sites))
    given = compare(spec, sites, swarm=(vector, agreed))
    assert given == compare(spec, sites)
    other = compare(spec, sites, swarm=(-vector, agreed))
    assert other.sites["site-0"].swarm != given.sites["site-0"].swarm
    assert other.sites["site-0"].local == given.sites["site-0"].local


def test_local_and_pooled_models_do_not_look_at_test_data():
    spec, sites = tiny_spec(), tiny_sites()
    other = {name: SiteData(data.train, tiny_dataset(25, 77, Part.TEST)) for name, data in sites.items()}
    alone = train_alone(spec, sites["site-1"].train)[0]
    assert train_alone(spec, other["site-1"].train)[0].tobytes() == alone.tobytes()


def test_a_federation_of_one_site_without_clip_is_its_local_model():
    """Same steps, same statistics: what is left is the rounding of updates to fixed point."""
    spec = tiny_spec(round={"min_sites": 1}, merge={"clip_norm": 100.0})
    sites = {"only": tiny_sites()["site-0"]}
    vector, agreed = simulated(run(spec, sites))
    alone, own = train_alone(spec, sites["only"].train)
    np.testing.assert_allclose(vector, alone, atol=1e-5)
    np.testing.assert_array_equal(agreed.mean, own.mean)


def test_a_test_part_of_one_class_has_no_auc_and_is_left_out_of_the_mean():
    sites = tiny_sites()
    test = sites["site-0"].test
    positives = test.take(np.flatnonzero(test.labels == 1))
    sites["site-0"] = SiteData(sites["site-0"].train, positives)
    compared = compare(tiny_spec(), sites)
    assert compared.sites["site-0"].swarm.metrics.auc is None
    rest = [compared.sites[name].swarm.metrics.auc for name in ("site-1", "site-2")]
    assert compared.mean("swarm", "auc") == pytest.approx(np.mean(rest))


def test_intervals_are_over_patients():
    compared = compare(tiny_spec(), tiny_sites(), resamples=100)
    measured = compared.sites["site-1"].swarm
    interval = measured.intervals["auc"]
    assert interval.low <= measured.metrics.auc <= interval.high
    assert interval.samples == 100


def test_the_record_is_json():
    record = compare(tiny_spec(), tiny_sites(), resamples=20).record()
    parsed = json.loads(json.dumps(record, allow_nan=False))
    assert parsed["sites"]["site-0"]["swarm"]["metrics"]["support"]["yes"] > 0


@pytest.mark.parametrize("seed", range(4))
def test_breast_cancer_gains_by_the_swarm(seed):
    spec = breast_cancer_spec(seed)
    source = {"source": "breast-cancer", "shards": 4, "seed": seed}
    sites = {f"site-{shard}": load({**source, "shard": shard}, spec) for shard in range(4)}
    compared = compare(spec, sites)
    swarm = compared.mean("swarm", "auc")
    assert swarm > compared.mean("local", "auc")
    assert swarm > compared.mean("pooled", "auc") - 0.01
    together = {name: measured.metrics.auc for name, measured in compared.together.items()}
    assert together["swarm"] > together["pooled"] - 0.01
