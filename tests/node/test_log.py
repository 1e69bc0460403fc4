"""The log."""

import os
import resource
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import resource
from node import log
log.configure()
log.get().info("first")
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
log.get().info("can't be written")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print("lives on")
"""


def test_a_log_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    with (tmp_path / "log").open("ab") as log:
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=False,
        )
    assert (ended.returncode, ended.stdout) == (0, b"lives on\n")
    assert "first" in (tmp_path / "log").read_text()
