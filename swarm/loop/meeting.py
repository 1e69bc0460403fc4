"""Where a training loop and its site's node meet: files in the site's folder, and what both say over a Unix socket.

    studies/ID/loop.sock    where the node listens, readable by the site's own user alone
    studies/ID/loop.json    what the node waits for: a sentence, and since when
    studies/ID/spec.json    the study, as the site agreed to it
    studies/ID/result.json  what came of it

Each message is one JSON object on one line. The loop opens with `hello` (protocol, specification hash). From then on
the node asks (`train` from a base model, `evaluate` the final one, or `refuse` with a sentence), and the loop answers
`done` or `error`, as the training process does. Models and updates don't go this way: both sides use the site's blobs.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarm.errors import RequestError
from swarm.nesting import check_nesting

PROTOCOL = 1
MAX_MESSAGE_BYTES = 64 * 1024
MAX_FILE_BYTES = 1 << 20
_ADDRESS_BYTES = 100  # what a socket's address holds on every system


@dataclass(frozen=True, slots=True)
class Train:
    """Train from a base model for a round."""

    round: int
    base: bytes


@dataclass(frozen=True, slots=True)
class Evaluate:
    """The study is over: this is the final model."""

    model: bytes


@dataclass(frozen=True, slots=True)
class Refuse:
    """The node doesn't take this loop."""

    says: str


Request = Train | Evaluate | Refuse


@dataclass(frozen=True, slots=True)
class Place:
    """The files of one study in a site's folder."""

    home: Path
    study: int

    @property
    def folder(self) -> Path:
        """The study's."""
        return self.home / "studies" / str(self.study)

    @property
    def blobs(self) -> Path:
        """Updates and models by hash."""
        return self.home / "blobs"


def socket_in(folder: Path) -> Path:
    """Where the node listens for a study's loop."""
    return folder / "loop.sock"


def state_in(folder: Path) -> Path:
    """Where the node says what it waits for."""
    return folder / "loop.json"


@contextmanager
def address(path: Path) -> Iterator[str]:
    """A socket's path as the system takes it; a long one goes by way of its folder's descriptor (on Linux)."""
    if len(os.fsencode(path)) <= _ADDRESS_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def hello(spec_hash: bytes) -> bytes:
    """What a loop says first."""
    return encode({"event": "hello", "protocol": PROTOCOL, "study": spec_hash.hex()})


def encode(message: Mapping[str, Any]) -> bytes:
    """One message as a line; raises RequestError where it is too long."""
    line = json.dumps(message, allow_nan=False).encode() + b"\n"
    if len(line) > MAX_MESSAGE_BYTES:
        raise RequestError(f"a message of {len(line)} bytes is longer than {MAX_MESSAGE_BYTES}")
    return line


def decode(line: bytes) -> dict[str, Any]:
    """Read a message; raises RequestError where it isn't one."""
    try:
        message = json.loads(check_nesting(line))
    except ValueError:
        raise RequestError("a message isn't one JSON object on one line") from None
    if not isinstance(message, dict):
        raise RequestError("a message isn't a JSON object")
    return message


def decode_request(line: bytes) -> Request:
    """Read what the node asks; raises RequestError."""
    message = decode(line)
    match message.get("op"):
        case "train":
            return Train(_round(message), _blob(message, "base"))
        case "evaluate":
            return Evaluate(_blob(message, "model"))
        case "refuse":
            return Refuse(str(message.get("says"))[:1024])
        case _:
            raise RequestError("the node asked for something that a training loop can't do")


def read_file(path: Path) -> dict[str, Any] | None:
    """Read a small JSON file of the node's; None where it isn't there or isn't whole."""
    try:
        with path.open("rb") as file:
            return decode(file.read(MAX_FILE_BYTES))
    except (OSError, RequestError):
        return None


def final_model(folder: Path) -> bytes | None:
    """The final model of a study that has ended, as the node noted it; None before."""
    result = read_file(folder / "result.json")
    return None if result is None else _blob(result, "model")


def _blob(message: Mapping[str, Any], field: str) -> bytes:
    value = message.get(field)
    try:
        blob = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        blob = b""
    if len(blob) != 32:
        raise RequestError(f"{field} must be a blob's hash, 64 hexadecimal digits")
    return blob


def _round(message: Mapping[str, Any]) -> int:
    value = message.get("round")
    if type(value) is not int or not 1 <= value < 1 << 16:
        raise RequestError("round must be a whole number from 1")
    return value
