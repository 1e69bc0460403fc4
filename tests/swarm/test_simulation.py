"""A study in one process: the bytes of its final model, whatever the order, the threads and the absences."""

import numpy as np
import pytest
from learning_samples import image_dataset, image_spec, tiny_site, tiny_sites, tiny_spec

from swarm.data import Dataset, Part, SiteData
from swarm.errors import MergeError, TrainingError, UpdateError
from swarm.folder_store import FolderStore
from swarm.manifest import BlobKind
from swarm.memory_store import MemoryStore
from swarm.merge import merge_updates
from swarm.moments import merge_moments, standardisation
from swarm.simulation import run
from swarm.site import Site
from swarm.weights import read_model, read_vector

NORMED = {"architecture": "mlp", "parameters": {"hidden": [6], "batch_norm": True, "dropout": 0.2}}


def test_the_same_study_twice_gives_the_same_final_model(tmp_path):
    spec = tiny_spec(model=NORMED)
    first = run(spec, tiny_sites())
    assert run(spec, tiny_sites()).final_model == first.final_model
    assert run(spec, tiny_sites(), store=FolderStore(tmp_path)).final_model == first.final_model


def test_the_order_of_sites_and_the_threads_of_the_merge_do_not_matter():
    spec = tiny_spec(model=NORMED)
    sites = tiny_sites()
    shuffled = dict(reversed(sites.items()))
    assert run(spec, shuffled, threads=2).final_model == run(spec, sites).final_model


def test_a_study_is_its_steps_by_hand():
    """The calls that nodes make: statistics, then training from the last model, then the merge of what came."""
    spec, sites, store = tiny_spec(), tiny_sites(), MemoryStore()
    parts = [Site(spec, data, store) for data in sites.values()]
    model = parts[0].initial()
    moments = merge_moments(store, [site.moments().blob for site in parts]).blob
    for number in (1, 2, 3):
        made = [site.train(number, model, moments) for site in parts]
        rule = spec.merge_rule(parts[0].layout)
        model = merge_updates(store, model, [(one.blob, one.weight) for one in made], rule).blob
    simulation = run(spec, sites)
    assert simulation.final_model == model
    assert simulation.moments == moments


def test_a_draft_gets_its_initial_model_and_a_wrong_one_is_refused():
    simulation = run(tiny_spec(), tiny_sites())
    assert simulation.spec.initial == Site(tiny_spec(), tiny_site(), MemoryStore()).initial()
    assert run(simulation.spec, tiny_sites()).final_model == simulation.final_model
    with pytest.raises(MergeError, match="the initial model is"):
        run(tiny_spec().with_initial(bytes(32)), tiny_sites())


def test_statistics_are_those_of_all_training_rows():
    sites = tiny_sites()
    simulation = run(tiny_spec(), sites)
    rows = np.concatenate([data.train.features for data in sites.values()])
    agreed = standardisation(simulation.store, simulation.moments)
    assert agreed.count == len(rows)
    np.testing.assert_allclose(agreed.mean, rows.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(agreed.scale, rows.std(axis=0), rtol=1e-5)


def test_without_standardisation_there_is_no_round_0():
    simulation = run(tiny_spec(data={"standardise": False}), tiny_sites())
    assert [done.number for done in simulation.rounds] == [1, 2, 3]
    assert simulation.moments is None


def test_an_absent_site_changes_what_the_rest_imply():
    spec, sites = tiny_spec(), tiny_sites()
    simulation = run(spec, sites, absent={2: {"site-1"}})
    assert set(simulation.rounds[2].contributions) == {"site-0", "site-2"}
    assert set(simulation.rounds[3].contributions) == set(sites)
    assert simulation.rounds[1].output == run(spec, sites).rounds[1].output
    assert simulation.final_model != run(spec, sites).final_model


def test_a_site_that_is_absent_throughout_is_as_if_it_were_not_there():
    spec, sites = tiny_spec(), tiny_sites()
    absent = {number: {"site-2"} for number in range(4)}
    rest = {name: sites[name] for name in ("site-0", "site-1")}
    assert run(spec, sites, absent=absent).final_model == run(spec, rest).final_model


def test_too_many_absences_are_refused():
    with pytest.raises(MergeError, match="round 1: 1 sites take part; the study needs 2"):
        run(tiny_spec(), tiny_sites(), absent={1: {"site-0", "site-1"}})


def test_a_model_with_batch_norm_trains_and_merges_its_statistics():
    spec = tiny_spec(model=NORMED)
    simulation = run(spec, tiny_sites())
    model = read_model(simulation.store, simulation.final_model)
    assert not any("tracked" in name for name in model)
    assert (model["norm1.running_var"] > 0).all()
    assert (model["norm1.running_mean"] != 0).any()
    metrics = Site(spec, tiny_site(), simulation.store).evaluate(simulation.final_model, simulation.moments)
    assert metrics.auc > 0.8


def test_images_train_as_a_study():
    spec = image_spec(training={"rounds": 6, "local_epochs": 4, "learning_rate": 0.05})
    sites = {str(number): image_site(number) for number in range(2)}
    simulation = run(spec, sites)
    assert Site(spec, sites["0"], simulation.store).evaluate(simulation.final_model, simulation.moments).auc > 0.9


def test_updates_leave_clipped_to_the_bound():
    spec = tiny_spec(merge={"clip_norm": 0.01})
    simulation = run(spec, tiny_sites())
    assert simulation.clipped_share == 1.0
    for done in simulation.rounds[1:]:
        for contribution in done.contributions.values():
            assert contribution.norm > 0.01
            data = b"".join([simulation.store.read_chunk(contribution.blob, 0)])
            values = np.frombuffer(data, "<i4").astype(object)
            assert (values * values).sum() <= spec.merge.bound**2


def test_weights_are_capped():
    simulation = run(tiny_spec(merge={"weight_cap": 35}), tiny_sites())
    weights = [one.weight for one in simulation.rounds[1].contributions.values()]
    assert weights == [30, 35, 35]


def test_only_treated_blobs_are_made():
    """What a site puts into its store is a model, statistics, or an update; raw weights never are."""
    spec, store = tiny_spec(), MemoryStore()
    site = Site(spec, tiny_site(), store)
    base = site.initial()
    moments = site.moments().blob
    update = site.train(1, base, moments).blob
    kinds = {blob: store.manifest(blob).kind for blob in store.blobs()}
    assert kinds == {base: BlobKind.MODEL, moments: BlobKind.MOMENTS, update: BlobKind.UPDATE}


def test_too_few_records_let_nothing_leave():
    spec, store = tiny_spec(privacy={"min_samples": 41}), MemoryStore()
    site = Site(spec, tiny_site(), store)
    base = site.initial()
    with pytest.raises(UpdateError, match="40 records"):
        site.moments()
    agreed = run(tiny_spec(), tiny_sites(), store=store).moments
    before = store.blobs()
    with pytest.raises(UpdateError, match="40 records"):
        site.train(1, base, agreed)
    assert store.blobs() == before


def test_models_and_statistics_of_another_study_are_refused():
    store = MemoryStore()
    other = run(image_spec(training={"rounds": 1}), {str(n): image_site(n) for n in range(2)}, store=store)
    agreed = run(tiny_spec(), tiny_sites(), store=store)
    site = Site(tiny_spec(), tiny_site(), store)
    with pytest.raises(TrainingError, match="isn't one of this study's architecture"):
        site.train(1, other.final_model, agreed.moments)
    narrow = Site(tiny_spec(data={"features": ["a"]}), one_column(), store)
    first = narrow.initial()
    with pytest.raises(TrainingError, match="not those of this study's columns"):
        narrow.train(1, first, agreed.moments)


def one_column():
    data = tiny_site()
    parts = [Dataset(part.features[:, :1].copy(), part.labels, ("a",), part.part) for part in (data.train, data.test)]
    return SiteData(*parts)


def image_site(number):
    return SiteData(image_dataset(24, number), image_dataset(12, number + 9, Part.TEST))


def test_the_watcher_sees_each_round():
    seen = []
    simulation = run(tiny_spec(), tiny_sites(), watch=lambda done: seen.append(done.number))
    assert seen == [0, 1, 2, 3]
    assert read_vector(simulation.store, simulation.final_model)[0].shape == (3,)
