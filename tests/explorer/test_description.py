"""Whatever is asked, allowed by the API's description or not, the service answers as described and goes on."""

import subprocess
import sys
from pathlib import Path

import pytest
from serving import Explorer

EXAMPLES = 12


@pytest.mark.slow
def test_no_request_breaks_it_and_every_answer_is_as_described(explorer: Explorer, tmp_path: Path) -> None:
    url = f"{explorer.url}/api/v1/openapi.json"
    command = ["-m", "schemathesis.cli", "run", url, "--checks", "all", "-n", str(EXAMPLES), "--no-color"]
    bounded = ["--phases", "examples,coverage,fuzzing", "--generation-deterministic", "--request-timeout", "120"]
    endless = ["--exclude-path", "/api/v1/live"]  # a stream that goes on until the reader leaves
    done = subprocess.run(
        [sys.executable, *command, *bounded, *endless], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert explorer.client.get("/api/v1/status").status_code == 200
