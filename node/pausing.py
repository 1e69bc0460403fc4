"""A site that its operator has paused: a file in its folder, so that it stays paused across restarts."""

import json
import time
from typing import Any

from node.errors import StorageError
from node.files import write_atomically
from node.site_folder import SiteFolder
from swarm.nesting import check_nesting

MAX_REASON = 200


def pause(folder: SiteFolder, reason: str = "") -> dict[str, Any]:
    """Have the site take no new work; it stays paused since the first time. Raises StorageError."""
    before = paused(folder)
    since = before["since"] if before is not None else int(time.time())
    record = {"since": since, "reason": reason[:MAX_REASON]}
    try:
        write_atomically(folder.paused, json.dumps(record).encode())
    except OSError as error:
        raise StorageError(f"can't write {folder.paused}: {error.strerror}") from None
    return record


def resume(folder: SiteFolder) -> bool:
    """Let the site take part again; False where it was not paused. Raises StorageError."""
    try:
        folder.paused.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StorageError(f"can't remove {folder.paused}: {error.strerror}") from None
    return True


def paused(folder: SiteFolder) -> dict[str, Any] | None:
    """Since when (seconds of this machine's clock) and why the site is paused; None where it isn't.

    A file that can't be read pauses the site all the same.
    """
    try:
        record = json.loads(check_nesting(folder.paused.read_bytes()))
        return {"since": int(record["since"]), "reason": str(record["reason"])[:MAX_REASON]}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError):
        return {"since": None, "reason": f"{folder.paused.name} can't be read"}
