"""Downloads, against a server on this machine."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from swarm.data import fetch
from swarm.data.fetch import DATA_SETS, PinnedFile, PublicData, get
from swarm.errors import DataError


class Server:
    """Serves `files` by path, and counts what it was asked for."""

    def __init__(self):
        self.files = {}
        self.asked = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.asked.append(self.path)
                body = server.files.get(self.path)
                self.send_response(200 if body is not None else 404)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *arguments):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}/heart"

    def close(self):
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture
def server():
    running = Server()
    yield running
    running.close()


FIRST, SECOND = b"1,2,3\n" * 10, b"4,5,6\n" * 20


@pytest.fixture(autouse=True)
def small_data_set(monkeypatch):
    files = tuple(
        PinnedFile(name, len(data), hashlib.sha256(data).hexdigest())
        for name, data in (("first.data", FIRST), ("second.data", SECOND))
    )
    monkeypatch.setitem(DATA_SETS, "small", PublicData("http://127.0.0.1:9/", files, "nobody"))


def test_files_are_fetched_checked_and_not_fetched_again(server, tmp_path):
    server.files = {"/heart/first.data": FIRST, "/heart/second.data": SECOND}
    folder = tmp_path / "new" / "folder"
    paths = get("small", folder, base_url=server.url)
    assert [path.read_bytes() for path in paths] == [FIRST, SECOND]
    assert get("small", folder, base_url=server.url) == paths
    assert len(server.asked) == 2
    assert sorted(path.name for path in folder.iterdir()) == ["first.data", "second.data"]


def test_a_damaged_file_is_fetched_again(server, tmp_path):
    server.files = {"/heart/first.data": FIRST, "/heart/second.data": SECOND}
    (tmp_path / "first.data").write_bytes(FIRST[:-1])
    get("small", tmp_path, base_url=server.url + "/")
    assert (tmp_path / "first.data").read_bytes() == FIRST


@pytest.mark.parametrize("served", [FIRST[:-1], FIRST + b"x" * 1_000_000, b"9" + FIRST[1:], b""])
def test_other_bytes_are_refused_and_not_kept(server, tmp_path, served):
    server.files = {"/heart/first.data": served}
    with pytest.raises(DataError, match="not the pinned file of 60 bytes"):
        get("small", tmp_path, base_url=server.url)
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_file_survives_a_refused_download(server, tmp_path):
    (tmp_path / "first.data").write_bytes(b"mine")
    server.files = {"/heart/first.data": b"theirs"}
    with pytest.raises(DataError):
        get("small", tmp_path, base_url=server.url)
    assert (tmp_path / "first.data").read_bytes() == b"mine"


def test_a_file_that_is_not_served_is_named(server, tmp_path):
    with pytest.raises(DataError, match=r"first\.data answered 404"):
        get("small", tmp_path, base_url=server.url)


def test_a_machine_without_internet_is_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "TIMEOUT_SECONDS", 2.0)
    with pytest.raises(DataError, match=r"can't reach .*bring the files by hand"):
        get("small", tmp_path, base_url="http://127.0.0.1:1/")


def test_what_is_no_http_address_or_data_set_is_refused(tmp_path):
    with pytest.raises(DataError, match="not an http"):
        get("small", tmp_path, base_url="file:///etc/")
    with pytest.raises(DataError, match="no public data set is called 'large'"):
        get("large", tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="can't write to"):
        get("small", tmp_path / "file")


def test_heart_disease_comes_from_uci_over_https():
    data = DATA_SETS["heart-disease"]
    assert data.base_url.startswith("https://archive.ics.uci.edu/")
    assert [file.size for file in data.files] == [18_461, 10_263, 4_109, 6_737]
