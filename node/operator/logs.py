"""Reading a node's log: JSON lines, in files that are turned over when they are full."""

import json
import os
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from node import log
from node.errors import OperatorError
from swarm.nesting import check_nesting

MAX_LINE_BYTES = 1 << 20
LOOK_SECONDS = 0.25
LEVELS = {"debug": 0, "info": 1, "warning": 2, "error": 3, "critical": 4, "exception": 3}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines to show; None stands for all."""

    study: int | None = None
    round: int | None = None
    level: str = "info"
    event: str | None = None

    def fits(self, record: dict[str, Any]) -> bool:
        """Whether a line is wanted."""
        return (
            self.study in (None, record.get("study"))
            and self.round in (None, record.get("round"))
            and self.event in (None, record.get("event"))
            and LEVELS.get(str(record.get("level")), 1) >= LEVELS[self.level]
        )


def tail(path: Path, wanted: Wanted, lines: int) -> list[dict[str, Any]]:
    """The last lines that are wanted, over the older files too; raises OperatorError where there is no log."""
    files = [path.with_name(f"{path.name}.{age}") for age in range(log.OLDER_FILES, 0, -1)]
    found: deque[dict[str, Any]] = deque(maxlen=lines)
    seen = False
    for file in (*files, path):
        try:
            with file.open("rb") as content:
                found.extend(filter(wanted.fits, _records(content)))
                seen = True
        except FileNotFoundError:
            continue
        except OSError as error:
            raise OperatorError(f"can't read {file}: {error.strerror}") from None
    if not seen:
        raise OperatorError(f"there is no log at {path}; a node that runs writes one")
    return list(found)


def following(path: Path, wanted: Wanted) -> Iterator[dict[str, Any]]:
    """The lines that are written from now on, for ever; a file that is turned over is read to its end first."""
    content = _open_at_end(path)
    try:
        unread = b""
        while True:
            if data := content.read(MAX_LINE_BYTES):
                *whole, unread = (unread + data).split(b"\n")
                yield from filter(wanted.fits, filter(None, map(_parse, whole)))
                unread = unread[-MAX_LINE_BYTES:]
            elif _is_other(content, path):
                content.close()
                content, unread = path.open("rb"), b""
            else:
                time.sleep(LOOK_SECONDS)
    except OSError as error:
        raise OperatorError(f"can't read {path}: {error.strerror}") from None
    finally:
        content.close()


def in_words(record: dict[str, Any]) -> str:
    """One line for a person."""
    rest = {key: value for key, value in record.items() if key not in ("timestamp", "level", "event", "site")}
    said = "  ".join(f"{key}={_text(value)}" for key, value in rest.items())
    when = str(record.get("timestamp", ""))[:19].replace("T", " ")
    return f"{when:<19} {record.get('level', '')!s:<7} {record.get('event', '')!s}  {said}".rstrip()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _records(content: BinaryIO) -> Iterator[dict[str, Any]]:
    while line := content.readline(MAX_LINE_BYTES):
        if (record := _parse(line)) is not None:
            yield record


def _parse(line: bytes) -> dict[str, Any] | None:
    """A line of the log; None where it isn't one, such as half a line of a node that was killed."""
    try:
        record = json.loads(check_nesting(line))
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _open_at_end(path: Path) -> BinaryIO:
    try:
        content = path.open("rb")
    except OSError as error:
        raise OperatorError(f"can't read {path}: {error.strerror}") from None
    content.seek(0, os.SEEK_END)
    return content


def _is_other(content: BinaryIO, path: Path) -> bool:
    """Whether the path leads to another file than the open one, which then gets no more lines."""
    try:
        now = path.stat()
    except FileNotFoundError:
        return False
    then = os.fstat(content.fileno())
    return (now.st_dev, now.st_ino) != (then.st_dev, then.st_ino) or now.st_size < content.tell()
