"""What the sites gained: the swarm's model beside models trained alone and on everybody's data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from swarm.data import SiteData
from swarm.evaluation import MODELS, Comparison, compare
from swarm.intervals import Interval, over_seeds
from swarm.moments import Standardisation
from swarm.spec import StudySpec
from swarm.weights import Floats

METRICS = ("auc", "balanced_accuracy", "accuracy", "log_loss")
SPLITS = 5
RESAMPLES = 200

Sites = Mapping[str, SiteData]


@dataclass(frozen=True, slots=True)
class Compared:
    """The comparison of the model that the swarm made, and the means over sites for other splits of the data.

    `splits` are by model and metric: the mean over `count` random splits and seeds, each a whole simulated study, with
    its t interval. The simulation is the network's arithmetic without network and chain.
    """

    comparison: Comparison
    count: int
    splits: Mapping[str, Mapping[str, Interval | None]]


def compare_sites(
    spec: StudySpec,
    sites: Sites,
    swarm: tuple[Floats, Standardisation | None],
    split: Callable[[int], Sites],
) -> Compared:
    """Compare the swarm's model on its own split of the data, and the method on those that `split` gives by seed."""
    comparison = compare(spec, sites, swarm=swarm, resamples=RESAMPLES)
    others = [compare(_reseeded(spec, seed), split(seed)) for seed in range(SPLITS)]
    return Compared(
        comparison,
        SPLITS,
        {model: {metric: _spread(others, model, metric) for metric in METRICS} for model in MODELS},
    )


def _spread(others: list[Comparison], model: str, metric: str) -> Interval | None:
    means = [one.mean(model, metric) for one in others]
    return over_seeds([mean for mean in means if mean is not None])


def _reseeded(spec: StudySpec, seed: int) -> StudySpec:
    """The same study with another seed, and thereby other first weights."""
    record = spec.model_dump(mode="json")
    record["training"]["seed"] = seed
    record["model"]["initial"] = ""
    return StudySpec.model_validate(record)
