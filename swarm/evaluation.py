"""What a site gains: its own model, the swarm's and a pooled one, side by side on each site's test part."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from swarm.data.dataset import Dataset, SiteData, pool
from swarm.intervals import Interval, bootstrap
from swarm.memory_store import MemoryStore
from swarm.metrics import Metrics, measure
from swarm.models import initial_weights
from swarm.moments import Standardisation, compute_moments, standardisation, write_moments
from swarm.simulation import Simulation, run
from swarm.spec import StudySpec
from swarm.training import FlatModel, Inputs, as_columns, predict, steps_of_round, train
from swarm.weights import Floats, flatten, read_vector

MODELS = ("local", "swarm", "pooled")


@dataclass(frozen=True, slots=True)
class Measured:
    """A model's metrics on one test part; intervals are over its patients, empty unless asked for."""

    metrics: Metrics
    intervals: dict[str, Interval | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SiteComparison:
    """One site: its training and test records, its optimisation steps, and each model on its test part."""

    train: int
    test: int
    steps: int
    local: Measured
    swarm: Measured
    pooled: Measured


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every site's comparison, by name; `together` is each shared model on all test parts at once."""

    sites: dict[str, SiteComparison]
    together: dict[str, Measured]

    def mean(self, model: str, metric: str) -> float | None:
        """Give the mean of a metric over the sites that define it; None where none does."""
        values = [getattr(getattr(site, model).metrics, metric) for site in self.sites.values()]
        defined = [value for value in values if value is not None]
        return sum(defined) / len(defined) if defined else None

    def record(self) -> dict[str, Any]:
        """Give it as JSON takes it."""
        return asdict(self)


def compare(
    spec: StudySpec,
    sites: Mapping[str, SiteData],
    *,
    swarm: tuple[Floats, Standardisation | None] | None = None,
    resamples: int = 0,
) -> Comparison:
    """Train the local and the pooled models, and hold them against the swarm's.

    A local model takes as many steps from the same first weights as the swarm asked of that site, with the site's own
    statistics; the pooled one as many passes over all training records. Neither looks at test data: the last weights
    count. `swarm` is the final model and its statistics; without it the study is simulated. `resamples` above 0 adds
    bootstrap intervals. Raises what training raises.
    """
    model = FlatModel.of(spec)
    vector, agreed = swarm if swarm is not None else simulated(run(spec, sites))
    training = pool([data.train for data in sites.values()])
    pooled_steps = sum(steps_of_round(len(data.train), spec.training) for data in sites.values())
    pooled = train_alone(spec, training, steps=pooled_steps)
    shared = {"swarm": (vector, agreed), "pooled": pooled}
    compared: dict[str, SiteComparison] = {}
    for name, data in sites.items():
        models = {"local": train_alone(spec, data.train), **shared}
        measured = {key: measure_model(spec, model, *value, data.test, resamples) for key, value in models.items()}
        steps = spec.training.rounds * steps_of_round(len(data.train), spec.training)
        compared[name] = SiteComparison(len(data.train), len(data.test), steps, **measured)
    testing = pool([data.test for data in sites.values()])
    together = {key: measure_model(spec, model, *value, testing, resamples) for key, value in shared.items()}
    return Comparison(compared, together)


def simulated(simulation: Simulation) -> tuple[Floats, Standardisation | None]:
    """Give a simulation's final model and its statistics."""
    moments = simulation.moments
    agreed = None if moments is None else standardisation(simulation.store, moments)
    return read_vector(simulation.store, simulation.final_model)[0], agreed


def train_alone(
    spec: StudySpec, dataset: Dataset, *, steps: int | None = None
) -> tuple[Floats, Standardisation | None]:
    """Train on one dataset through every round of the study, without merging; give the model and its statistics.

    `steps` are those of one round; without it, those that the study asks of this dataset.
    """
    agreed = _own_statistics(spec, dataset) if spec.data.standardise else None
    model, inputs = FlatModel.of(spec), Inputs.of(dataset, spec, agreed)
    vector = flatten(initial_weights(spec))
    for number in range(1, spec.training.rounds + 1):
        vector = train(spec, model, vector, inputs, number, steps=steps).vector
    return vector, agreed


def measure_model(
    spec: StudySpec,
    model: FlatModel,
    vector: Floats,
    agreed: Standardisation | None,
    dataset: Dataset,
    resamples: int = 0,
) -> Measured:
    """Measure a model on a dataset, with bootstrap intervals where `resamples` is above 0."""
    predictions = predict(spec, model, vector, Inputs.of(dataset, spec, agreed))
    metrics = measure(dataset.labels, predictions, spec.data.classes)
    wanted = resamples and spec.data.classes
    intervals = bootstrap(dataset.labels, predictions, resamples=resamples) if wanted else {}
    return Measured(metrics, intervals)


def _own_statistics(spec: StudySpec, dataset: Dataset) -> Standardisation:
    """Compute statistics that never leave: the exact arithmetic of the statistics round, in a store of its own."""
    store = MemoryStore()
    moments = compute_moments(as_columns(dataset.features, spec.data))
    return standardisation(store, write_moments(store, moments).blob)
