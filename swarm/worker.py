"""The training process: `python -m swarm.worker`, one request a line on standard input, replies on standard output.

Requests are JSON objects with `op`; replies are JSON objects with `event`: any number of `progress`, then `done` or
`error` (`code`, `message`). A bad request gives an error, and the process stays for the next one; it ends with its
input, or with the process that started it, even in the middle of training.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from swarm.data import load
from swarm.errors import RequestError, SwarmError
from swarm.folder_store import FolderStore
from swarm.site import Site
from swarm.spec import StudySpec

MAX_REQUEST_BYTES = 1 << 20
NICENESS = 5
PARENT_SECONDS = 0.2
FIELDS = {
    "open": {"spec", "data", "store"},
    "initial": set(),
    "moments": set(),
    "train": {"round", "base", "moments"},
    "evaluate": {"model", "moments"},
}

Reply = dict[str, Any]
Send = Callable[[Reply], None]

_log = logging.getLogger("swarm.worker")


class Worker:
    """Serves requests, one at a time; `send` takes the progress of the one in hand."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._site: Site | None = None

    def serve(self, line: bytes) -> Reply:
        """Give the last reply to one request: `done`, or `error` whatever went wrong."""
        try:
            return {"event": "done", **self._answer(_decode(line))}
        except SwarmError as error:
            return _error(error.code, str(error))
        except MemoryError:
            return _error("swarm.memory", "there is not enough memory for this study's model and data")
        except OSError as error:
            return _error("swarm.disk", f"{error.strerror or error}: {error.filename or 'the store'}")
        except Exception as error:  # noqa: BLE001 - the boundary of the process: log it, and stay for the next request
            _log.exception("a request failed")
            return _error("swarm.internal", f"{type(error).__name__}: {error}")

    def _answer(self, request: Mapping[str, Any]) -> Reply:
        op = request["op"]
        if op == "open":
            return self._open(request)
        if self._site is None:
            raise RequestError(f"{op}: the first request must be open")
        if op == "initial":
            return {"blob": self._site.initial().hex()}
        if op == "moments":
            contribution = self._site.moments()
            return {"blob": contribution.blob.hex(), "weight": contribution.weight}
        moments = None if request["moments"] is None else _blob(request, "moments")
        if op == "evaluate":
            return {"metrics": self._site.evaluate(_blob(request, "model"), moments).record()}
        return self._site.train(_round(request), _blob(request, "base"), moments, progress=self._report).record()

    def _open(self, request: Mapping[str, Any]) -> Reply:
        spec = StudySpec.from_json(_path(request, "spec").read_bytes())
        if not isinstance(request["data"], dict):
            raise RequestError("open: data must be an object")
        store = FolderStore(_path(request, "store"))
        self._site = None
        site = self._site = Site(spec, load(request["data"], spec), store)
        return {"samples": site.data.samples, "train": len(site.data.train), "test": len(site.data.test)}

    def _report(self, step: int, steps: int, loss: float) -> None:
        self._send({"event": "progress", "step": step, "steps": steps, "loss": loss})


def requests(stream: IO[bytes]) -> Iterator[bytes]:
    """Give the lines of a stream; one that is too long is skipped and comes as its beginning, which is no JSON."""
    while line := stream.readline(MAX_REQUEST_BYTES):
        complete = line.endswith(b"\n")
        while not complete and (rest := stream.readline(MAX_REQUEST_BYTES)):
            complete = rest.endswith(b"\n")
            line = line[:MAX_REQUEST_BYTES] + b"\0"
        if line.strip():
            yield line


def main() -> None:
    """Serve until the end of standard input."""
    replies = _reserve_stdout()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    _be_nice()
    _end_with_parent()

    def send(reply: Reply) -> None:
        replies.write(json.dumps(reply, allow_nan=False).encode() + b"\n")
        replies.flush()

    worker = Worker(send)
    try:
        for line in requests(sys.stdin.buffer):
            send(worker.serve(line))
    except (BrokenPipeError, KeyboardInterrupt):
        _log.info("ended by the other side")


def _decode(line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise RequestError("a request must be one JSON object on one line") from None
    op = request.get("op") if isinstance(request, dict) else None
    if not isinstance(op, str) or op not in FIELDS:
        raise RequestError(f"a request must be an object whose op is one of {', '.join(FIELDS)}")
    given = set(request) - {"op"}
    if given != FIELDS[op]:
        missing, unknown = sorted(FIELDS[op] - given), sorted(given - FIELDS[op])
        faults = [f"{what} {', '.join(names)}" for what, names in (("missing", missing), ("unknown", unknown)) if names]
        raise RequestError(f"{op}: {'; '.join(faults)[:200]}")
    return dict(request)


def _blob(request: Mapping[str, Any], field: str) -> bytes:
    value = request[field]
    try:
        blob = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        blob = b""
    if len(blob) != 32:
        raise RequestError(f"{request['op']}: {field} must be a blob's hash, 64 hexadecimal digits")
    return blob


def _round(request: Mapping[str, Any]) -> int:
    value = request["round"]
    if type(value) is not int or not 1 <= value < 1 << 16:
        raise RequestError("train: round must be a whole number from 1")
    return value


def _path(request: Mapping[str, Any], field: str) -> Path:
    if not isinstance(request[field], str):
        raise RequestError(f"{request['op']}: {field} must be a path")
    return Path(request[field])


def _error(code: str, message: str) -> Reply:
    return {"event": "error", "code": code, "message": message}


def _reserve_stdout() -> IO[bytes]:
    """Keep standard output for replies: whatever a library prints goes to standard error."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return replies


def _be_nice() -> None:
    if hasattr(os, "nice"):
        os.nice(NICENESS)


def _end_with_parent() -> None:
    """End at once when the process that started this one is gone.

    Not by PR_SET_PDEATHSIG: it fires when the thread that started this process ends, and event loops start processes
    from threads of a pool.
    """
    parent = os.getppid()
    idle = threading.Event()

    def watch() -> None:
        while os.getppid() == parent:
            idle.wait(PARENT_SECONDS)
        os._exit(0)

    threading.Thread(target=watch, name="parent", daemon=True).start()


if __name__ == "__main__":
    main()
