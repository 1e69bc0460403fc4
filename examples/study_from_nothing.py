"""A study from nothing: written in Python, simulated, proposed to a consortium, run by its sites, and handed on.

    python examples/study_from_nothing.py

starts a development chain and three hospitals on this machine. In a consortium, `study.propose("site")` is all that
differs from what is below: the other hospitals' operators read the proposal and accept it, each on its own machine.
"""

import tempfile
from pathlib import Path

from sklearn.datasets import load_breast_cancer

from node.demo.scene import SitePlan
from node.demo.stage import consortium
from node.study import Study

SITES = 3


def make_study() -> Study:
    """What the hospitals are asked to agree to."""
    data = load_breast_cancer()
    return Study.new(
        "tumours",
        task="binary",
        description="Is the tumour malignant?",
        data={
            "features": [str(name) for name in data.feature_names],
            "label": "diagnosis",
            "classes": ["benign", "malignant"],
        },
        model={"architecture": "mlp", "parameters": {"hidden": [16]}},
        rounds=5,
        training={"local_epochs": 2, "batch_size": 16, "learning_rate": 0.05},
        round={"min_sites": SITES, "collect_seconds": 120, "least_seconds": 120},
    )


def source(shard: int) -> dict[str, object]:
    """What hospital number `shard` trains on; for real data: {"source": "csv", "path": "patients.csv"}."""
    return {"source": "breast-cancer", "shard": shard, "shards": SITES}


def main() -> None:
    """Write, simulate, propose, accept, wait, export."""
    study = make_study()
    names = [f"hospital-{number}" for number in range(1, SITES + 1)]
    simulation = study.simulate({name: source(shard) for shard, name in enumerate(names)})
    print(f"simulated: {study.spec.training.rounds} rounds, final model {simulation.final_model.hex()[:16]}")

    plans = [SitePlan(name, source(shard)) for shard, name in enumerate(names)]
    with tempfile.TemporaryDirectory(prefix="study-") as folder, consortium(Path(folder), plans) as homes:
        proposed = study.propose(homes[0])
        print(f"proposed as study {proposed.number}; the hospitals' operators accept it")
        for home in homes:  # each operator at a desk of its own
            proposed.at(home).accept()
        for home in homes:
            result = proposed.at(home).wait(seconds=300)
            auc = result["metrics"]["auc"]
            print(f"{home.name}: model {result['model'][:16]}, AUC on its own test patients {auc:.3f}")
        files = proposed.export(Path(folder) / "model")["files"]
        print(f"handed on as {', '.join(sorted(files))}")


if __name__ == "__main__":
    main()
