"""Whatever is sent, allowed by the description or not, the interface answers as described and goes on.

More examples than are run here: `schemathesis run URL/openapi.json -H "Authorization: Bearer TOKEN" --checks all`.
"""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_world import ALL, Served, accept, commit, served
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from operator_world import NAMES, World
from test_study_commands import propose

from node import identity
from node.site_folder import SiteFolder

pytestmark = pytest.mark.slow

EXAMPLES = 12
START = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n"


@pytest.fixture
def site(consortium: World) -> Iterator[Served]:
    """A site with a study in its first round and some that wait for an answer, and a member that is connected."""
    running, _ = propose(consortium, rounds=2)
    for rounds in (3, 4):
        propose(consortium, rounds=rounds)
    accept(consortium, running, *NAMES)
    commit(consortium, "ada", running, bytes(31) + b"a")
    home = consortium.home("ada")
    config = home / "config.toml"
    config.write_text(config.read_text().split("[data]")[0])  # a look at the data starts a process each time
    bea = identity.address_of(SiteFolder(consortium.home("bea")).keystore)
    with served(home, peers=(bea,)) as site:
        yield site


def test_no_request_breaks_it_and_every_answer_is_as_described(site: Served, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{site.port}/openapi.json"
    command = ["-m", "schemathesis.cli", "run", url, "--checks", "all", "-n", str(EXAMPLES), "--no-color"]
    bounded = ["--phases", "examples,coverage,fuzzing", "--generation-deterministic", "--request-timeout", "120"]
    # To stop is what a valid request for it does; another test asks for that.
    chosen = ["--exclude-path", "/v1/stop", "-H", f"Authorization: Bearer {site.token(*ALL)}"]
    done = subprocess.run(
        [sys.executable, *command, *bounded, *chosen], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert site.ask("GET", "/openapi.json").status == 200


def test_no_bytes_end_it(site: Served) -> None:
    pieces = st.sampled_from([START, b"\r\n", b"\r\n\r\n", b"content-length: 3\r\n", b"transfer-encoding: chunked\r\n"])

    @settings(max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(pieces | st.binary(max_size=40), max_size=8))
    def send(sent: list[bytes]) -> None:
        with socket.create_connection(("127.0.0.1", site.port), timeout=60) as line:
            line.sendall(b"".join(sent))
            line.shutdown(socket.SHUT_WR)
            answer = line.recv(1 << 16)
        assert not answer or answer.startswith(b"HTTP/1.1 ")

    send()
    assert site.ask("GET", "/openapi.json").status == 200
