"""A training process that trains nothing: it adds noise to the base model, so that a benchmark times all the rest.

It speaks the protocol of `python -m swarm.worker`, and what it makes leaves by the same path.
"""

import json
import sys
from pathlib import Path

import numpy as np

from swarm.folder_store import FolderStore
from swarm.models import write_initial
from swarm.privacy.egress import prepare_update
from swarm.spec import StudySpec
from swarm.weights import read_vector

SAMPLES = 100


class NoiseWorker:
    def __init__(self, request: dict) -> None:
        self.spec = StudySpec.from_json(Path(request["spec"]).read_bytes())
        self.store = FolderStore(request["store"])
        self.seed = request["data"]["shard"]
        self.noise: np.ndarray | None = None

    def open(self, request: dict) -> dict:
        return {"samples": SAMPLES, "train": SAMPLES, "test": 0}

    def initial(self, request: dict) -> dict:
        return {"blob": write_initial(self.spec, self.store).blob.hex()}

    def train(self, request: dict) -> dict:
        base, layout = read_vector(self.store, bytes.fromhex(request["base"]))
        if self.noise is None:
            self.noise = np.random.Generator(np.random.Philox(self.seed)).normal(0, 1e-4, base.size).astype(np.float32)
        update = prepare_update(
            base + self.noise,
            base,
            rule=self.spec.merge_rule(layout),
            privacy=self.spec.privacy,
            samples=SAMPLES,
        )
        return {"blob": update.write(self.store).blob.hex(), "weight": SAMPLES, "epsilon_micro": 0, "seconds": 0.0}

    def evaluate(self, request: dict) -> dict:
        return {"metrics": {}}


def main() -> None:
    worker: NoiseWorker | None = None
    for line in sys.stdin:
        request = json.loads(line)
        if worker is None:
            worker = NoiseWorker(request)
        reply = getattr(worker, request["op"])(request)
        print(json.dumps({"event": "done", **reply}), flush=True)


main()
