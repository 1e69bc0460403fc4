"""A training process that behaves as its arguments say: one word for each request, the last one again and again.

    python fake_worker.py FOLDER WORD WORD ...

Each process writes its number as an empty file into FOLDER when it starts; it answers `open` like any other request.
"""

import json
import os
import sys
import time
from pathlib import Path


def say(record: object) -> None:
    print(json.dumps(record), flush=True)


def main() -> None:
    folder, *words = sys.argv[1:]
    Path(folder, str(os.getpid())).touch()
    for line in sys.stdin:
        word = words.pop(0) if len(words) > 1 else words[0]
        match word:
            case "done":
                say({"event": "progress", "step": 1})
                say({"event": "done", "op": json.loads(line)["op"], "pid": os.getpid()})
            case "error":
                say({"event": "error", "code": "swarm.data", "message": "row 7, column age: missing"})
            case "nameless-error":
                say({"event": "error"})
            case "die":
                sys.exit(3)
            case "die-while-speaking":
                print('{"event": "do', end="", flush=True)
                sys.exit(3)
            case "babble":
                print("loss=0.3", flush=True)
                say({"event": "done", "op": "stale"})
            case "list":
                say([1, 2, 3])
            case "deep":
                print("[" * 500_000, flush=True)
            case "unknown-event":
                say({"event": "coffee"})
            case "overlong":
                print("x" * (2 << 20), flush=True)
            case "when-told":
                while not Path(folder, "go").exists():
                    time.sleep(0.01)
                say({"event": "done", "op": json.loads(line)["op"], "pid": os.getpid()})
            case "silent":
                time.sleep(600)


main()
