"""A training loop of one's own in a swarm: plain PyTorch, and four calls of `SwarmCallback`.

    python examples/own_loop.py

starts a development chain and three hospitals on this machine, each with this program as its training loop beside its
node, and prints what each hospital gains. In a hospital, the loop alone is started beside `swarm-node run`:

    python examples/own_loop.py --home site --study 1
"""

import argparse
import copy
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from sklearn.utils import Bunch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from swarm.loop.callback import SwarmCallback
from swarm.loop.module import describe
from swarm.spec import StudySpec

ROUNDS, STEPS, SITES = 6, 20, 3
TRAINING = 60  # patients of each hospital that it trains on


def make_model() -> nn.Module:
    """A network that nobody but this program knows. Its batch norm learns the features' ranges with the swarm."""
    return nn.Sequential(nn.BatchNorm1d(30), nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1))


def make_study() -> StudySpec:
    """The agreement of the hospitals: the model by its layout, how often to synchronise, how updates are bounded."""
    data = load_breast_cancer()
    record = {
        "study": {"name": "own-loop", "task": "binary", "description": "Is the tumour malignant?"},
        "data": {"features": list(data.feature_names), "classes": ["malignant", "benign"], "standardise": False},
        "model": {"architecture": "custom", "layout": describe(make_model())},
        "training": {"rounds": ROUNDS, "local_steps": STEPS, "max_local_steps": 2 * STEPS, "learning_rate": 0.01},
        "merge": {"clip_norm": 20.0, "scale_bits": 22},
        "round": {"min_sites": 2, "collect_seconds": 60, "grace_seconds": 20, "least_seconds": 60},
    }
    return StudySpec.model_validate(record)


def load(shard: int, shards: int) -> tuple[TensorDataset, TensorDataset]:
    """The patients that one hospital trains on, and those of all hospitals that nobody trains on.

    Hospitals differ: each one has seen tumours of another texture.
    """
    data = load_breast_cancer()
    by_texture = np.argsort(data.data[:, 1], kind="stable")
    hospitals = [np.random.default_rng(1).permutation(rows) for rows in np.array_split(by_texture, shards)]
    kept_back = np.concatenate([rows[TRAINING:] for rows in hospitals])
    return _dataset(data, hospitals[shard][:TRAINING]), _dataset(data, kept_back)


def _dataset(data: Bunch, rows: np.ndarray) -> TensorDataset:
    features = torch.tensor(np.log1p(data.data[rows]), dtype=torch.float32)
    return TensorDataset(features, torch.tensor(data.target[rows], dtype=torch.float32))


def auc(model: nn.Module, dataset: TensorDataset) -> float:
    """Area under the ROC curve."""
    features, labels = dataset.tensors
    model.eval()
    with torch.no_grad():
        return float(roc_auc_score(labels, model(features)[:, 0]))


def train_alone(model: nn.Module, train: TensorDataset, steps: int) -> nn.Module:
    """What the hospital could do without the others: as many steps on its own patients."""
    swarmless = copy.deepcopy(model)
    optimizer = torch.optim.Adam(swarmless.parameters(), lr=0.01)
    loader = DataLoader(train, batch_size=15, shuffle=True)
    while steps > 0:
        for features, labels in loader:
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(swarmless(features)[:, 0], labels).backward()
            optimizer.step()
            steps -= 1
    return swarmless


def take_part(home: Path, study: int, shard: int, shards: int) -> None:
    """The loop. Without the five lines that name `swarm`, it is any PyTorch loop."""
    torch.manual_seed(shard)
    torch.set_num_threads(1)
    train, test = load(shard, shards)
    model = make_model()
    alone = train_alone(model, train, ROUNDS * STEPS)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    loader = DataLoader(train, batch_size=15, shuffle=True)

    swarm = SwarmCallback(model, home=home, study=study, samples=len(train), evaluate=lambda: {"auc": auc(model, test)})
    swarm.on_train_begin()
    while not swarm.finished:
        model.train()
        for features, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(model(features)[:, 0], labels)
            loss.backward()
            optimizer.step()
            swarm.on_batch_end(loss)
        swarm.on_epoch_end()
    swarm.on_train_end()

    say(
        f"{home.name}: {len(train)} patients; AUC on {len(test)} patients of all hospitals: "
        f"alone {auc(alone, test):.3f}, with the swarm {auc(model, test):.3f}"
    )


def say(line: str) -> None:
    """Print a line in one piece: several hospitals' programs write to one terminal here."""
    print(f"{line}\n", end="", flush=True)


def main() -> None:
    """Run one hospital's loop, or without `--home` everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, help="the site's folder; without it, all sites are started here")
    parser.add_argument("--study", type=int, default=1)
    parser.add_argument("--shard", type=int, default=0)
    parser.add_argument("--shards", type=int, default=SITES)
    options = parser.parse_args()
    if options.home is not None:
        take_part(options.home, options.study, options.shard, options.shards)
        return
    from node.demo.loops import run_with_loops

    results = run_with_loops(make_study(), Path(__file__), SITES)
    print(f"every site has the same final model: {', '.join(sorted({one['model'][:16] for one in results.values()}))}")


if __name__ == "__main__":
    main()
