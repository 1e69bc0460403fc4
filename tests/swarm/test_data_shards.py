"""Dividing a data set among rehearsing sites."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from learning_samples import breast_cancer_spec

from swarm.data import load
from swarm.data.shards import apportion, fewest_rows, split_shards, split_test
from swarm.errors import DataError

counts = st.lists(st.integers(30, 200), min_size=2, max_size=4)
seeds = st.integers(0, 2**32 - 1)


def labels_of(sizes):
    return np.repeat(np.arange(len(sizes)), sizes)


@given(counts, st.integers(1, 10), seeds)
def test_shards_share_out_every_row_once_and_every_class_to_every_site(sizes, n_sites, seed):
    labels = labels_of(sizes)
    shards = split_shards(labels, n_sites, seed)
    assert len(shards) == n_sites
    np.testing.assert_array_equal(np.sort(np.concatenate(shards)), np.arange(len(labels)))
    for shard in shards:
        assert (np.diff(shard) > 0).all()
        for label, size in enumerate(sizes):
            assert (labels[shard] == label).sum() >= fewest_rows(size, n_sites) >= 3


@given(counts, st.integers(1, 10), seeds)
def test_shards_depend_on_the_seed_alone(sizes, n_sites, seed):
    labels = labels_of(sizes)
    for first, second in zip(split_shards(labels, n_sites, seed), split_shards(labels, n_sites, seed), strict=True):
        np.testing.assert_array_equal(first, second)


def test_shards_of_breast_cancer_are_unequal_and_skewed():
    labels = labels_of([357, 212])
    sizes, shares = [], []
    for seed in range(20):
        shards = split_shards(labels, 4, seed)
        sizes.append(max(map(len, shards)) / min(map(len, shards)))
        positives = [labels[shard].mean() for shard in shards]
        shares.append(max(positives) - min(positives))
    assert np.median(sizes) > 2
    assert np.median(shares) > 0.2


def test_too_few_rows_for_so_many_sites_are_refused():
    with pytest.raises(DataError, match="20 rows of class 1 can't give 7 sites 3 each"):
        split_shards(labels_of([100, 20]), 7, 0)
    with pytest.raises(DataError, match="at least one site"):
        split_shards(labels_of([100, 20]), 0, 0)


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=8), st.integers(0, 1000))
def test_apportioning_gives_everything_and_is_fair_to_one(shares, total):
    found = apportion(np.array(shares), total)
    exact = np.array(shares) / sum(shares) * total
    assert found.sum() == total
    assert (np.abs(found - exact) < 1 + 1e-6).all()


@given(st.lists(st.integers(1, 60), min_size=1, max_size=4), st.floats(0.05, 0.9), seeds)
def test_a_test_part_is_disjoint_and_has_each_class_that_can_be_divided(sizes, fraction, seed):
    labels = labels_of(sizes)
    train, test = split_test(labels, fraction, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(len(labels)))
    for label, size in enumerate(sizes):
        assert (labels[train] == label).any()
        assert (labels[test] == label).any() == (size > 1)


def test_no_test_part_is_held_back_where_none_is_wanted():
    train, test = split_test(labels_of([5, 5]), 0.0, 0)
    assert (len(train), len(test)) == (10, 0)


def test_the_sites_of_a_demo_share_breast_cancer_without_overlap():
    spec = breast_cancer_spec()
    sites = [load({"source": "breast-cancer", "shard": site, "shards": 4, "seed": 3}, spec) for site in range(4)]
    assert sum(site.samples for site in sites) == 569
    rows = np.concatenate([part.features for site in sites for part in (site.train, site.test)])
    assert len(np.unique(rows, axis=0)) == 569


@pytest.mark.parametrize("n_sites", [2, 8, 16, 32])
def test_breast_cancer_is_enough_for_demos_of_many_sites(n_sites):
    spec = breast_cancer_spec()
    for site in range(n_sites):
        data = load({"source": "breast-cancer", "shard": site, "shards": n_sites}, spec)
        assert min(data.train.support(2)) >= 1
        assert min(data.test.support(2)) >= 1
