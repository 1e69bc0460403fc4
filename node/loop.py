"""A data scientist's own training loop, as the node sees it: whoever connects to the study's socket trains.

The loop may come late, leave and come again, and so may the node. A request waits for a loop for as long as it is
wanted: the round's deadlines end it, not a clock of ours. See `swarm.loop.meeting` for what is said.
"""

import json
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio

from node import log
from node.errors import WorkerError
from node.files import write_atomically
from node.replies import Progress, Replies
from swarm.blobs import BlobStore
from swarm.errors import SwarmError
from swarm.first_weights import draw_layout
from swarm.loop.meeting import PROTOCOL, address, encode, socket_in, state_in
from swarm.spec import StudySpec
from swarm.weights import write_model

HELLO_SECONDS = 10.0
FAREWELL_SECONDS = 5.0
"""How long a finished study waits for a loop that could measure its model; one that comes later finds it on disk."""
MEASURE_SECONDS = 600.0


class Loop:
    """The loop of one study: one at a time, the next one waits until it is gone."""

    def __init__(self, spec: StudySpec, folder: Path, store: BlobStore) -> None:
        self._spec = spec
        self._folder = folder
        self._store = store
        self._listener: trio.SocketListener | None = None
        self._stream: trio.SocketStream | None = None
        self._replies: Replies | None = None
        self._busy = trio.Lock()
        self._log = log.get()

    async def request(self, op: str, *, progress: Progress | None = None, **fields: Any) -> dict[str, Any]:
        """Ask the loop for one thing, once there is one, and await its answer; raises WorkerError.

        A request that is cancelled hangs up: the loop comes again, and goes on if it is asked for the same.
        """
        if op == "initial":
            return {"blob": (await trio.to_thread.run_sync(self._first)).hex()}
        async with self._busy:
            if op == "evaluate":
                return await self._evaluate(fields["model"])
            return await self._ask({"op": op, **fields}, progress)

    async def close(self) -> None:
        """Hang up, and listen no more."""
        with trio.CancelScope(shield=True):
            await self._hang_up()
            if self._listener is not None:
                await self._listener.aclose()
                socket_in(self._folder).unlink(missing_ok=True)

    def ended(self, says: str) -> None:
        """Tell loops, also those that come later, that the study has ended without a model."""
        self._tell(says, ended=True)

    async def _ask(self, request: dict[str, Any], progress: Progress | None) -> dict[str, Any]:
        while True:
            stream, replies = await self._joined()
            answered = False
            try:
                await stream.send_all(encode(request))
                reply = await replies.settled(progress)
                answered = True
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._log.warning("loop_left", op=request["op"])
                if request["op"] == "evaluate":
                    raise WorkerError("the training loop left before it had measured the model") from None
            except WorkerError as error:
                answered = bool(error.cause)
                raise
            else:
                self._vet(request, reply)
                return reply
            finally:
                if not answered:
                    with trio.CancelScope(shield=True):
                        await self._hang_up()

    def _vet(self, request: dict[str, Any], reply: dict[str, Any]) -> None:
        """Refuse an update of too few records, whatever program made it; the round loop holds the other rules."""
        weight, needed = reply.get("weight"), min(self._spec.privacy.min_samples, self._spec.merge.weight_cap)
        if request["op"] == "train" and not (type(weight) is int and weight >= needed):
            raise WorkerError(
                f"the training loop's update is of {str(weight)[:20]} records: nothing leaves a site with fewer than "
                f"{needed}"
            )

    async def _evaluate(self, model: str) -> dict[str, Any]:
        """Have the loop take the final model, and measure it where it can; no loop is waited for."""
        asked: dict[str, Any] = {"metrics": None}
        with trio.move_on_after(FAREWELL_SECONDS):
            await self._joined()
        if self._stream is None:
            state_in(self._folder).unlink(missing_ok=True)
            return asked
        with trio.move_on_after(MEASURE_SECONDS):
            try:
                reply = await self._ask({"op": "evaluate", "model": model}, None)
            except WorkerError as error:
                self._log.warning("not_measured", code=error.cause or error.code, reason=str(error))
            else:
                asked["metrics"] = _metrics(reply.get("metrics"))
        return asked

    async def _joined(self) -> tuple[trio.SocketStream, Replies]:
        """The loop's connection; waits for one, and says so."""
        listener = self._listening()
        while self._stream is None or self._replies is None:
            self._tell(
                f"waiting for this site's training loop: start the program whose SwarmCallback names study "
                f"{self._folder.name}"
            )
            stream = await listener.accept()
            try:
                admitted = await self._admit(stream)
            except BaseException:
                with trio.CancelScope(shield=True):
                    await stream.aclose()
                raise
            if admitted is None:
                await stream.aclose()
                continue
            self._stream, self._replies = stream, admitted
            state_in(self._folder).unlink(missing_ok=True)
            self._log.info("loop_joined")
        return self._stream, self._replies

    async def _admit(self, stream: trio.SocketStream) -> Replies | None:
        """Hear a loop's hello; None where it is no loop of this study, and it was told so."""
        replies = Replies(stream, "the training loop")
        with trio.move_on_after(HELLO_SECONDS), suppress(WorkerError, trio.BrokenResourceError):
            hello = await replies.next()
            if hello.get("protocol") != PROTOCOL:
                says = f"it speaks version {str(hello.get('protocol'))[:20]} of the protocol, the node {PROTOCOL}"
            elif hello.get("study") != self._spec.hash.hex():
                says = "it was made for another specification than this study's"
            else:
                return replies
            self._log.warning("loop_refused", reason=says)
            await stream.send_all(encode({"op": "refuse", "says": says}))
        return None

    def _listening(self) -> trio.SocketListener:
        """Listen, if that wasn't begun; for this site's own user alone, before the first one can connect."""
        if self._listener is None:
            path = socket_in(self._folder)
            path.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                with address(path) as name:
                    listener.bind(name)
                path.chmod(stat.S_IRUSR | stat.S_IWUSR)
                listener.listen()
            except OSError as error:
                listener.close()
                raise WorkerError(f"can't listen for the training loop at {path}: {error.strerror}") from None
            self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
        return self._listener

    async def _hang_up(self) -> None:
        stream, self._stream, self._replies = self._stream, None, None
        if stream is not None:
            await trio.aclose_forcefully(stream)

    def _tell(self, says: str, *, ended: bool = False) -> None:
        state = {"says": says, "since": int(time.time()), "ended": ended}
        write_atomically(state_in(self._folder), json.dumps(state).encode())

    def _first(self) -> bytes:
        """The first model: one that the operator brought, or drawn; the study's layout says all there is to know."""
        model = self._spec.model
        try:
            if model.initial and self._store.has(self._spec.initial):
                if self._store.manifest(self._spec.initial).tensors != model.tensors:
                    raise WorkerError("the first model does not have the study's layout", "swarm.specification")
                return self._spec.initial
            drawn = write_model(self._store, draw_layout(model.tensors, self._spec.training.seed)).blob
        except SwarmError as error:
            raise WorkerError(str(error), error.code) from None
        if model.initial and drawn != self._spec.initial:
            raise WorkerError(
                "the first model was not drawn but brought: get its file from the proposer, and `swarm-node model "
                "import FILE` it",
                "swarm.specification",
            )
        return drawn


def _metrics(given: Any) -> dict[str, float] | None:
    """What a loop measured, as far as it is names and numbers."""
    if not isinstance(given, dict):
        return None
    return {name: float(value) for name, value in given.items() if isinstance(value, int | float)}
