"""The training process of a site: `python -m swarm.worker`.

One JSON object per line on standard input (requests) and on standard output (replies); logs go to standard error. A
request carries `op`; its replies carry `event`: any number of `progress`, then `done` or `error` (`code`, `message`).
The process ends at the end of its input.

    open      spec, data, store     -> samples, train, test
    initial                         -> blob
    moments                         -> blob, weight, ...
    train     round, base, moments  -> progress (step, steps, loss) ..., blob, weight, ...
    evaluate  model, moments        -> metrics
"""

import json
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from swarm.data import load
from swarm.errors import SwarmError
from swarm.folder_store import FolderStore
from swarm.site import Contribution, Site
from swarm.spec import StudySpec

NICENESS = 5
MAX_REQUEST_BYTES = 1 << 20

Record = dict[str, Any]
Reply = Callable[[str, Record], None]


class RequestError(SwarmError, ValueError):
    """A request that the worker can't understand."""

    code = "swarm.worker.request"


class Worker:
    """Answers requests about one site in one study."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._site: Site | None = None
        self._operations: dict[str, Callable[[Record], Record]] = {
            "open": self._open,
            "initial": self._initial,
            "moments": self._moments,
            "train": self._train,
            "evaluate": self._evaluate,
        }

    def answer(self, line: bytes) -> None:
        """Answer one request; what goes wrong with it is the answer."""
        try:
            request = _parse(line)
            operation = self._operations.get(request.get("op", ""))
            if operation is None:
                raise RequestError(f"there is no operation {request.get('op')!r}")
            self._reply("done", operation(request))
        except SwarmError as error:
            self._reply("error", {"code": error.code, "message": str(error)})
        except MemoryError:
            self._reply("error", {"code": "swarm.memory", "message": "there is not enough memory for this"})

    @property
    def site(self) -> Site:
        """The open site; raises RequestError before `open`."""
        if self._site is None:
            raise RequestError("nothing is open: send `open` first")
        return self._site

    def _open(self, request: Record) -> Record:
        path = Path(_field(request, "spec", str))
        try:
            spec = StudySpec.from_json(path.read_bytes())
        except OSError as error:
            raise RequestError(f"can't read the specification {path}: {error.strerror}") from None
        data = load(_field(request, "data", dict), spec)
        self._site = Site(spec, data, FolderStore(_field(request, "store", str)))
        return {"samples": len(data.train) + len(data.test), "train": len(data.train), "test": len(data.test)}

    def _initial(self, request: Record) -> Record:
        return {"blob": self.site.initial().hex()}

    def _moments(self, request: Record) -> Record:
        return _contribution(self.site.moments())

    def _train(self, request: Record) -> Record:
        def progress(step: int, steps: int, loss: float) -> None:
            self._reply("progress", {"step": step, "steps": steps, "loss": loss})

        number = _field(request, "round", int)
        base, moments = _blob(request, "base"), _maybe_blob(request, "moments")
        return _contribution(self.site.train(number, base, moments, progress=progress))

    def _evaluate(self, request: Record) -> Record:
        metrics = self.site.evaluate(_blob(request, "model"), _maybe_blob(request, "moments"))
        return {"metrics": asdict(metrics)}


def _contribution(contribution: Contribution) -> Record:
    return {**asdict(contribution), "blob": contribution.blob.hex()}


def _parse(line: bytes) -> Record:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise RequestError("a request is not JSON") from None
    if not isinstance(request, dict):
        raise RequestError("a request is not a JSON object")
    return request


def _field(request: Record, name: str, kind: type) -> Any:
    value = request.get(name)
    if type(value) is not kind:
        raise RequestError(f"{name}: a {kind.__name__} is needed")
    return value


def _blob(request: Record, name: str) -> bytes:
    try:
        blob = bytes.fromhex(_field(request, name, str))
    except ValueError:
        raise RequestError(f"{name}: a blob's hash in hex is needed") from None
    if len(blob) != 32:
        raise RequestError(f"{name}: a blob's hash has 64 hex digits")
    return blob


def _maybe_blob(request: Record, name: str) -> bytes | None:
    return None if request.get(name) is None else _blob(request, name)


def serve(requests: IO[bytes], replies: IO[str]) -> None:
    """Answer requests until there are no more."""

    def reply(event: str, fields: Record) -> None:
        replies.write(json.dumps({"event": event, **fields}, default=_plain) + "\n")
        replies.flush()

    worker = Worker(reply)
    while line := requests.readline(MAX_REQUEST_BYTES):
        worker.answer(line)


def _plain(value: Any) -> Any:
    """What JSON has no form for: NumPy's scalars."""
    return value.item()


def main() -> None:
    """Serve on the standard streams, a little less eager for the processor than the network is."""
    os.nice(NICENESS)
    with redirect_stdout(sys.stderr):  # a stray print is no reply
        serve(sys.stdin.buffer, sys.__stdout__ or sys.stdout)


if __name__ == "__main__":
    main()
