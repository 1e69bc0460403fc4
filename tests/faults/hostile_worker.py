"""A training process that fails in every round of training, each time in another way; honest in all else.

It speaks the protocol of `swarm.worker` and has a real one do the honest work.
"""

import json
import subprocess
import sys

import numpy as np

from swarm.folder_store import FolderStore
from swarm.manifest import BlobKind, layout_elements
from swarm.spec import StudySpec


def say(record: dict[str, object]) -> None:
    print(json.dumps(record), flush=True)


def over_clip(opened: dict[str, str], base: str) -> dict[str, object]:
    """An update beyond the bound, as a training process would make that doesn't clip."""
    store = FolderStore(opened["store"])
    with open(opened["spec"], "rb") as file:
        rule = StudySpec.from_json(file.read()).merge_rule(store.manifest(bytes.fromhex(base)).tensors)
    numbers = np.full(layout_elements(rule.layout), rule.bound, "<i4")
    blob = store.create(BlobKind.UPDATE, "int32", rule.layout, [numbers.data], scale_bits=rule.scale_bits).blob
    return {"event": "done", "blob": blob.hex(), "weight": 1, "epsilon_micro": 0}


def misbehave(opened: dict[str, str], request: dict[str, object]) -> None:
    match request["round"]:
        case 1:
            say({"event": "error", "code": "swarm.training", "message": "the loss is not finite in step 3"})
        case 2:
            say(over_clip(opened, str(request["base"])))
        case 3:
            print("Segmentation fault, or so it says", flush=True)
        case _:
            sys.exit(1)


def main() -> None:
    opened: dict[str, str] = {}
    command = [sys.executable, "-m", "swarm.worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as honest:
        assert honest.stdin is not None
        assert honest.stdout is not None
        for line in sys.stdin.buffer:
            request = json.loads(line)
            if request["op"] == "open":
                opened = request
            if request["op"] == "train":
                misbehave(opened, request)
                continue
            honest.stdin.write(line)
            honest.stdin.flush()
            sys.stdout.buffer.write(honest.stdout.readline())
            sys.stdout.buffer.flush()


main()
