"""Asking a running node to stop: a file in its folder, and its lock, which it lets go of when it has ended.

A file, and not a signal: it works from another container, too, where a process has another number.
"""

import time

from node.errors import OperatorError, StorageError
from node.files import write_atomically
from node.site_folder import SiteFolder

LOOK_SECONDS = 0.1


def stop(folder: SiteFolder, patience: float) -> bool:
    """Wait until the node has stopped; False where none was running. Raises OperatorError where it takes too long."""
    if not folder.is_locked():
        return False
    try:
        write_atomically(folder.stop_request, b"")
    except OSError as error:
        raise StorageError(f"can't write {folder.stop_request}: {error.strerror}") from None
    deadline = time.monotonic() + patience
    while folder.is_locked():
        if time.monotonic() > deadline:
            raise OperatorError(
                f"the node has not stopped within {patience:g} s; it will, or its log says what it does"
            )
        time.sleep(LOOK_SECONDS)
    return True
