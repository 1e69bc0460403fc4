"""Choose rounds and learning rate of the heart-disease study, by cross-validation on training records alone.

    python benchmarks/heart_disease_selection.py --path FOLDER

Each hospital's training part (FLamby's split) is divided into stratified folds. The whole federation is simulated on
all folds but one, statistics, clip and weight cap included, and measured on the fold left out. The choice is made by
the mean log loss over the four hospitals: accuracy hardly tells one row from the next (predicting each hospital's
majority already gives 0.72), and says nothing about the probabilities. Every round costs messages and exposure, so the
choice is the fewest rounds within one standard error of the best (Breiman et al. 1984), and of those the best rate.
Rates whose updates the clip shortens more than rarely are left out: there the clip would set the step.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev

import numpy as np

from swarm.data import Part, SiteData, load
from swarm.data.heart_disease import CENTERS, FLAMBY_SEED
from swarm.data.shards import generator
from swarm.evaluation import MODELS, compare, simulated
from swarm.intervals import over_seeds
from swarm.metrics import Metrics
from swarm.simulation import Simulation, run
from swarm.site import Site
from swarm.spec import StudySpec
from swarm.studies import draft

FOLDS, REPEATS, SPLITS = 5, 4, 20
LEARNING_RATES = (0.003, 0.01, 0.03, 0.1, 0.3)
MAX_CLIPPED = 0.05
ROUNDS = (1, 2, 3, 5, 8, 12, 20, 30, 45, 60)
SHOWN = ("accuracy", "balanced_accuracy", "auc")


def variant(spec: StudySpec, **training: object) -> StudySpec:
    """Give the study with other training parameters."""
    record = spec.model_dump(mode="json")
    record["training"].update(training)
    record["model"]["initial"] = ""
    return StudySpec.model_validate(record)


def hospitals(folder: Path, spec: StudySpec, seed: int = FLAMBY_SEED) -> dict[str, SiteData]:
    """Load the four hospitals, split by the given seed."""
    source = {"source": "heart-disease", "path": str(folder), "seed": seed}
    return {center: load({**source, "center": center}, spec) for center in CENTERS}


def folds(sites: dict[str, SiteData], repeat: int) -> Iterator[dict[str, SiteData]]:
    """Divide each training part into folds of like class balance; give each fold's training and validation records."""
    places = {name: fold_of_each(data.train.labels, repeat, name) for name, data in sites.items()}
    for fold in range(FOLDS):
        yield {
            name: SiteData(
                data.train.take(np.flatnonzero(places[name] != fold)),
                data.train.take(np.flatnonzero(places[name] == fold), Part.TEST),
            )
            for name, data in sites.items()
        }


def fold_of_each(labels: np.ndarray, repeat: int, name: str) -> np.ndarray:
    """Assign each record to a fold, class by class."""
    draw = generator("folds", repeat, name)
    fold = np.empty(len(labels), np.int64)
    start = 0
    for label in np.unique(labels):
        rows = draw.permutation(np.flatnonzero(labels == label))
        fold[rows] = (np.arange(len(rows)) + start) % FOLDS
        start += len(rows)
    return fold


def at_rounds(simulation: Simulation, sites: dict[str, SiteData], rounds: tuple[int, ...]) -> dict[int, list[Metrics]]:
    """Measure the model of several rounds on each site's held-out records."""
    measuring = [Site(simulation.spec, data, simulation.store) for data in sites.values()]
    outputs = {done.number: done.output for done in simulation.rounds}
    return {number: [site.evaluate(outputs[number], simulation.moments) for site in measuring] for number in rounds}


def mean_of(metrics: list[Metrics], name: str) -> float:
    """Give the mean over the hospitals that define the metric."""
    return mean(value for one in metrics if (value := getattr(one, name)) is not None)


def select(spec: StudySpec, sites: dict[str, SiteData]) -> tuple[float, int]:
    """Print the table of the cross-validation; give the learning rate and the rounds that it chooses.

    See the head of this file for the rule.
    """
    scores: dict[tuple[float, int], list[dict[str, float]]] = {}
    clipped: dict[float, list[float]] = {}
    for rate in LEARNING_RATES:
        trial = variant(spec, learning_rate=rate, rounds=max(ROUNDS))
        for repeat in range(REPEATS):
            for fold in folds(sites, repeat):
                simulation = run(trial, fold)
                clipped.setdefault(rate, []).append(simulation.clipped_share)
                for number, metrics in at_rounds(simulation, fold, ROUNDS).items():
                    row = {name: mean_of(metrics, name) for name in (*SHOWN, "log_loss")}
                    scores.setdefault((rate, number), []).append(row)
    print("  rate rounds  accuracy  balanced     auc  log loss   error  clipped")
    for (rate, number), rows in scores.items():
        values = [mean(row[name] for row in rows) for name in (*SHOWN, "log_loss")]
        print(
            f"{rate:6g} {number:6d} {values[0]:9.4f} {values[1]:9.4f} {values[2]:7.4f} {values[3]:9.4f}"
            f" {standard_error(rows, 'log_loss'):7.4f} {mean(clipped[rate]):8.1%}"
        )
    fit = {key: rows for key, rows in scores.items() if mean(clipped[key[0]]) <= MAX_CLIPPED}
    best = min(fit, key=lambda key: loss_of(fit[key]))
    ceiling = loss_of(fit[best]) + standard_error(fit[best], "log_loss")
    close = [key for key, rows in fit.items() if loss_of(rows) <= ceiling]
    chosen = min(close, key=lambda key: (key[1], loss_of(fit[key])))
    print(f"\nbest log loss: rate {best[0]:g}, {best[1]} rounds")
    print(f"chosen, the fewest rounds within one standard error: rate {chosen[0]:g}, {chosen[1]} rounds")
    return chosen


def loss_of(rows: list[dict[str, float]]) -> float:
    """Give the mean log loss over folds."""
    return mean(row["log_loss"] for row in rows)


def standard_error(rows: list[dict[str, float]], name: str) -> float:
    """Give the standard error of a metric's mean over folds."""
    return stdev(row[name] for row in rows) / len(rows) ** 0.5


def report(spec: StudySpec, sites: dict[str, SiteData]) -> None:
    """Print the published study on FLamby's test part, hospital by hospital."""
    simulation = run(spec, sites)
    compared = compare(spec, sites, swarm=simulated(simulation), resamples=1000)
    print(f"\nFLamby's split, {spec.training.rounds} rounds at {spec.training.learning_rate:g}")
    print(f"{'hospital':12} {'train':>5} {'test':>4} {'positive':>8}  " + "  ".join(f"{n:^26}" for n in SHOWN))
    print(f"{'':33}" + "  ".join(f"{'local':>8} {'swarm':>8} {'pooled':>8}" for _ in SHOWN))
    for name, site in compared.sites.items():
        support = sites[name].test.support(2)
        cells = [[getattr(getattr(site, model).metrics, metric) for model in MODELS] for metric in SHOWN]
        print(f"{name:12} {site.train:5} {site.test:4} {support[1]:8}  " + "  ".join(map(row_of, cells)))
    means = [[compared.mean(model, metric) for model in MODELS] for metric in SHOWN]
    print(f"{'mean':33}" + "  ".join(map(row_of, means)))
    print(f"updates clipped: {simulation.clipped_share:.1%}")


def row_of(values: list[float | None]) -> str:
    """Format a row's numbers."""
    return " ".join(f"{'-':>8}" if value is None else f"{value:8.4f}" for value in values)


def resplit(spec: StudySpec, folder: Path) -> None:
    """Print the published study over random splits of the same kind as FLamby's."""
    found: dict[tuple[str, str], list[float]] = {}
    majority: list[float] = []
    for seed in range(SPLITS):
        sites = hospitals(folder, spec, seed)
        compared = compare(spec, sites)
        majority.append(mean(max(np.mean(d.test.labels), 1 - np.mean(d.test.labels)) for d in sites.values()))
        for model in MODELS:
            for metric in SHOWN:
                value = compared.mean(model, metric)
                if value is not None:
                    found.setdefault((model, metric), []).append(value)
    print(f"\n{SPLITS} random splits, mean over the hospitals with 95 % t interval")
    print(f"each hospital's majority: accuracy {mean(majority):.4f}")
    for model in MODELS:
        cells = []
        for metric in SHOWN:
            interval = over_seeds(found[model, metric])
            cells.append(
                f"{metric} {interval.estimate:.4f} ({interval.low:.4f} to {interval.high:.4f})" if interval else "-"
            )
        print(f"{model:8}" + "   ".join(cells))


def main() -> None:
    """Print selection, result on FLamby's split, and results on random splits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, required=True, help="folder with the four processed.*.data files")
    parser.add_argument("--only-selection", action="store_true", help="don't look at any test part")
    options = parser.parse_args()
    spec = draft("heart-disease")
    sites = hospitals(options.path, spec)
    rate, rounds = select(spec, sites)
    published = (spec.training.learning_rate, spec.training.rounds)
    print(f"published: {published[0]:g}, {published[1]}" + ("" if (rate, rounds) == published else " (another choice)"))
    if not options.only_selection:
        report(spec, sites)
        resplit(spec, options.path)


if __name__ == "__main__":
    main()
