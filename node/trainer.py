"""The training process: started, spoken to and replaced by the node, so that training never starves the network."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from node import log
from node.errors import StudyRefused, WorkerError
from node.replies import Progress, Replies, Trains
from swarm.spec import StudySpec

START_SECONDS = 120.0


class Trainer:
    """One worker process for one study at this site (`python -m swarm.worker`, or another command that speaks as it).

    Requests are answered one at a time. A request that is cancelled takes the process with it, and the next request
    starts a fresh one: that is how training on a round that is over is stopped, whatever it is busy with.
    """

    def __init__(self, spec: Path, data: dict[str, Any], store: Path, command: Sequence[str] = ()) -> None:
        self._command = list(command) or [sys.executable, "-m", "swarm.worker"]
        self._open = {"op": "open", "spec": str(spec), "data": data, "store": str(store)}
        self._process: trio.Process | None = None
        self._replies: Replies | None = None
        self._busy = trio.Lock()
        self._log = log.get()

    async def request(self, op: str, *, progress: Progress | None = None, **fields: Any) -> dict[str, Any]:
        """Ask the worker for one thing and await its answer; raises WorkerError.

        The error has a `cause` where the worker answered with one and lives on. A worker that died or spoke nonsense
        is replaced for the next request.
        """
        async with self._busy:
            answered = False
            try:
                if self._process is None:
                    await self._start()
                reply = await self._exchange({"op": op, **fields}, progress)
                answered = True
            except WorkerError as error:
                answered = bool(error.cause)
                raise
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise WorkerError("the training process died; it is started again for the next attempt") from error
            finally:
                if not answered:
                    with trio.CancelScope(shield=True):
                        await self._stop()
            return reply

    async def close(self) -> None:
        """End the worker."""
        with trio.CancelScope(shield=True):
            await self._stop()

    async def _start(self) -> None:
        try:
            process = self._process = await trio.lowlevel.open_process(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        except OSError as error:
            raise WorkerError(f"the training process {self._command[0]} can't be started: {error}") from None
        self._replies = None if process.stdout is None else Replies(process.stdout, "the training process")
        with trio.move_on_after(START_SECONDS):
            try:
                opened = await self._exchange(self._open, None)
            except WorkerError:
                await self._stop()
                raise
            self._log.info("worker_started", pid=process.pid, opened=opened)
            return
        raise WorkerError(f"the training process did not start within {START_SECONDS:.0f} s")

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            await process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    await stream.aclose()

    async def _exchange(self, request: dict[str, Any], progress: Progress | None) -> dict[str, Any]:
        process = self._process
        if process is None or process.stdin is None or self._replies is None:
            raise WorkerError("the training process is not running")
        await process.stdin.send_all(json.dumps(request).encode() + b"\n")
        return await self._replies.settled(progress)


async def hold_against(spec: StudySpec, trainer: Trains) -> None:
    """Hold the local data and the initial model against a specification; raises StudyRefused, or WorkerError."""
    try:
        reply = await trainer.request("initial")
    except WorkerError as error:
        if not error.cause:
            raise  # it died or made no sense: not a word about the study
        raise StudyRefused(f"{error} [{error.cause}]") from None
    if reply.get("blob") != spec.model.initial:
        raise StudyRefused("the initial model is not the one in the specification")
