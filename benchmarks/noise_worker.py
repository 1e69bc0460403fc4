"""A training process that trains nothing: it adds noise to the base model, so that a benchmark times all the rest.

It speaks the protocol of `python -m swarm.worker`, and what it makes leaves by the same path. Its data source is
`{"seed": n, "initial": folder of a store}`: the initial model is copied from there, since making it would take torch.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from swarm.folder_store import FolderStore
from swarm.privacy.egress import prepare_update
from swarm.spec import StudySpec
from swarm.weights import read_vector

SAMPLES = 100
NOISE = 1e-4

Request = Mapping[str, Any]


class NoiseWorker:
    def __init__(self, request: Request) -> None:
        self.spec = StudySpec.from_json(Path(request["spec"]).read_bytes())
        self.store = FolderStore(request["store"])
        self.seed = request["data"]["seed"]
        self.source = FolderStore(request["data"]["initial"])
        self.noise: np.ndarray | None = None

    def open(self, request: Request) -> dict[str, Any]:
        return {"samples": SAMPLES, "train": SAMPLES, "test": 0}

    def initial(self, request: Request) -> dict[str, Any]:
        manifest = self.source.manifest(self.spec.initial)
        receiver = self.store.receive(manifest)
        for index in receiver.missing():
            receiver.write(index, self.source.read_chunk(manifest.blob, index))
        receiver.finish()
        return {"blob": manifest.blob.hex()}

    def train(self, request: Request) -> dict[str, Any]:
        base, layout = read_vector(self.store, bytes.fromhex(request["base"]))
        if self.noise is None:
            self.noise = np.random.Generator(np.random.Philox(self.seed)).standard_normal(base.size, np.float32) * NOISE
        update = prepare_update(
            base + self.noise * (1 + request["round"] / 100),  # or a site would commit the same update again
            base,
            rule=self.spec.merge_rule(layout),
            privacy=self.spec.privacy,
            samples=SAMPLES,
        )
        return {"blob": update.write(self.store).blob.hex(), "weight": SAMPLES, "epsilon_micro": 0, "seconds": 0.0}

    def evaluate(self, request: Request) -> dict[str, Any]:
        return {"metrics": {}}


def main() -> None:
    worker: NoiseWorker | None = None
    for line in sys.stdin:
        request = json.loads(line)
        if worker is None:
            worker = NoiseWorker(request)
        reply = getattr(worker, request["op"])(request)
        print(json.dumps({"event": "done", **reply}), flush=True)


if __name__ == "__main__":
    main()
