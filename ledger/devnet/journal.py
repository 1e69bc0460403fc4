"""The devnet's journal: every block's timestamp and transactions, on disk before the block is mined.

anvil keeps its chain in memory. Its own dumps are not atomic, miss what happened since, and come back without the
hashes that BLOCKHASH reads, so that a transaction which names a block fails after a restore. Executing the same
transactions at the same timestamps from the same genesis gives the same chain, hash by hash: so ours comes back.

The file is JSON, one object a line: a header, then one record for each block. A line is written in one piece; a torn
last line is a block that was never mined, and is cut off. A correction of a record follows it with the same number.
"""

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.errors import DevnetError, JournalInvalid

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Record:
    """One block: its number, timestamp and raw transactions in hex, and its parent's hash where that was noted."""

    number: int
    timestamp: int
    transactions: tuple[str, ...] = ()
    parent: str | None = None

    def to_line(self) -> bytes:
        """Give the line of the file."""
        entry: dict[str, Any] = {"n": self.number, "t": self.timestamp}
        if self.transactions:
            entry["x"] = self.transactions
        if self.parent is not None:
            entry["p"] = self.parent
        return json.dumps(entry, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "Record":
        """Read a line; raises ValueError, KeyError or TypeError."""
        entry = json.loads(line)
        return cls(int(entry["n"]), int(entry["t"]), tuple(str(raw) for raw in entry.get("x", ())), entry.get("p"))


class Journal:
    """An open journal, locked against other processes."""

    def __init__(self, path: Path, chain_id: int, genesis_time: int) -> None:
        """Open the file, or begin one for a chain with this genesis; raises DevnetError and JournalInvalid."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._lock()
            self.genesis_time, self.records = self._load(chain_id, genesis_time)
        except BaseException:
            os.close(self._file)
            raise

    def append(self, record: Record, *, durable: bool) -> None:
        """Write a record; where it is `durable` it is on the disk, and all before it, when this returns."""
        _write(self._file, record.to_line())
        if durable:
            os.fdatasync(self._file) if hasattr(os, "fdatasync") else os.fsync(self._file)

    def close(self) -> None:
        """Bring everything to the disk and let other processes have the file."""
        os.fsync(self._file)
        os.close(self._file)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DevnetError(
                f"a devnet is running in {self.path.parent} already; stop it, or choose another folder"
            ) from error

    def _load(self, chain_id: int, genesis_time: int) -> tuple[int, list[Record]]:
        with open(self._file, "rb", closefd=False) as file:
            content = file.read()
        lines = content.split(b"\n")
        torn = len(lines.pop())
        if not lines:
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
            header = {"version": _VERSION, "chain_id": chain_id, "genesis_time": genesis_time}
            _write(self._file, json.dumps(header).encode() + b"\n")
            os.fsync(self._file)
            _sync_folder(self.path.parent)
            return genesis_time, []
        os.ftruncate(self._file, len(content) - torn)
        os.lseek(self._file, 0, os.SEEK_END)
        return self._header(lines[0], chain_id), self._records(lines[1:])

    def _header(self, line: bytes, chain_id: int) -> int:
        try:
            header = json.loads(line)
            version, found, genesis_time = header["version"], header["chain_id"], int(header["genesis_time"])
        except (ValueError, KeyError, TypeError) as error:
            raise JournalInvalid(f"{self.path} is not a devnet's journal; move it away to begin a new chain") from error
        if version != _VERSION:
            raise JournalInvalid(f"{self.path} is a journal of version {version}; this program reads {_VERSION}")
        if found != chain_id:
            raise JournalInvalid(f"{self.path} is the journal of chain {found}, not of chain {chain_id}")
        return genesis_time

    def _records(self, lines: list[bytes]) -> list[Record]:
        records: list[Record] = []
        for index, line in enumerate(lines):
            try:
                record = Record.from_line(line)
                if not 1 <= record.number <= len(records) + 1:
                    raise ValueError(f"block {record.number} after block {len(records)}")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise JournalInvalid(
                    f"line {index + 2} of {self.path} is damaged ({error}); put a copy of the file back, or cut it off "
                    "before that line to lose the blocks from there on"
                ) from error
            del records[record.number - 1 :]
            records.append(record)
        return records


def _sync_folder(folder: Path) -> None:
    """Bring a new file's name to the disk, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(file: int, line: bytes) -> None:
    written = os.write(file, line)
    if written != len(line):
        raise DevnetError("the disk is full: the devnet can't go on without its journal")
