"""The training process: its protocol in this process, and its life as a process of its own."""

import io
import json
import os
import signal
import subprocess
import sys

import pytest
from learning_samples import breast_cancer_spec

from swarm import worker
from swarm.data import load
from swarm.errors import RequestError
from swarm.folder_store import FolderStore
from swarm.memory_store import MemoryStore
from swarm.models import write_initial
from swarm.simulation import run
from swarm.worker import MAX_REQUEST_BYTES, Worker, requests

SHARDS = 3


def source(shard=0):
    return {"source": "breast-cancer", "shard": shard, "shards": SHARDS, "seed": 0}


def spec_of(**training):
    draft = breast_cancer_spec(**training)
    return draft.with_initial(write_initial(draft, MemoryStore()).blob)


@pytest.fixture
def spec_file(tmp_path):
    path = tmp_path / "spec.json"
    path.write_bytes(spec_of(rounds=2).canonical())
    return path


@pytest.fixture
def opened(spec_file, tmp_path):
    """A worker with its study open."""
    serving = Worker(print)
    ask(serving, op="open", spec=str(spec_file), data=source(), store=str(tmp_path / "blobs"))
    return serving


def ask(serving, **request):
    reply = serving.serve(json.dumps(request).encode())
    assert reply["event"] == "done", reply
    return reply


def refusal(serving, request):
    line = request if isinstance(request, bytes) else json.dumps(request).encode()
    reply = serving.serve(line)
    assert reply["event"] == "error", reply
    return reply


def test_opening_a_study_tells_the_sizes_of_the_data(spec_file, tmp_path):
    reply = ask(Worker(print), op="open", spec=str(spec_file), data=source(), store=str(tmp_path / "blobs"))
    data = load(source(), spec_of(rounds=2))
    assert reply == {"event": "done", "samples": data.samples, "train": len(data.train), "test": len(data.test)}


def test_the_initial_model_is_the_specifications(opened):
    assert ask(opened, op="initial")["blob"] == spec_of(rounds=2).model.initial


def test_a_whole_study_through_the_protocol_is_the_simulation(opened, spec_file, tmp_path):
    spec = spec_of(rounds=2)
    simulation = run(spec, {f"{shard}": load(source(shard), spec) for shard in range(SHARDS)})
    store = FolderStore(tmp_path / "blobs")
    moments = ask(opened, op="moments")
    assert bytes.fromhex(moments["blob"]) == simulation.rounds[0].contributions["0"].blob
    for needed in (simulation.moments, simulation.rounds[1].output, simulation.final_model):
        copy(simulation.store, store, needed)
    base = ask(opened, op="initial")["blob"]
    agreed = simulation.moments.hex()
    for number in (1, 2):
        update = ask(opened, op="train", round=number, base=base, moments=agreed)
        expected = simulation.rounds[number].contributions["0"]
        assert bytes.fromhex(update["blob"]) == expected.blob
        assert (update["weight"], update["epsilon_micro"]) == (expected.weight, 0)
        assert (update["norm"], update["clipped"]) == (expected.norm, expected.clipped)
        assert update["seconds"] > 0
        assert store.has(bytes.fromhex(update["blob"]))
        base = simulation.rounds[number].output.hex()
    metrics = ask(opened, op="evaluate", model=base, moments=agreed)["metrics"]
    assert metrics["auc"] > 0.9
    assert metrics["support"].keys() == {"benign", "malignant"}
    json.dumps(metrics, allow_nan=False)


def copy(given, taken, blob):
    receiver = taken.receive(given.manifest(blob))
    for index in receiver.missing():
        receiver.write(index, given.read_chunk(blob, index))
    receiver.finish()


HASH = "00" * 32


@pytest.mark.parametrize(
    ("request_line", "fault"),
    [
        (b"not json\n", "one JSON object"),
        (b"[" * 100_000, "one JSON object"),
        (b"\xff\n", "one JSON object"),
        (b"[]", "an object whose op is one of"),
        (b"{}", "an object whose op is one of"),
        ({"op": "explode"}, "an object whose op is one of"),
        ({"op": ["open"]}, "an object whose op is one of"),
        ({"op": "train", "round": 1}, "train: missing base, moments"),
        ({"op": "initial", "extra": 1}, "initial: unknown extra"),
        ({"op": "train", "round": "1", "base": HASH, "moments": None}, "round must be a whole number"),
        ({"op": "train", "round": True, "base": HASH, "moments": None}, "round must be a whole number"),
        ({"op": "train", "round": 0, "base": HASH, "moments": None}, "round must be a whole number"),
        ({"op": "train", "round": 1, "base": "abc", "moments": None}, "base must be a blob's hash"),
        ({"op": "train", "round": 1, "base": 7, "moments": None}, "base must be a blob's hash"),
        ({"op": "evaluate", "model": HASH, "moments": "zz" * 32}, "moments must be a blob's hash"),
        ({"op": "open", "spec": 1, "data": {}, "store": "x"}, "spec must be a path"),
    ],
)
def test_a_bad_request_is_an_error_and_the_next_one_is_served(opened, request_line, fault):
    reply = refusal(opened, request_line)
    assert reply["code"] == RequestError.code
    assert fault in reply["message"]
    assert ask(opened, op="initial")["blob"]


def test_open_comes_first():
    assert "the first request must be open" in refusal(Worker(print), {"op": "initial"})["message"]


def test_faults_of_the_study_and_the_data_keep_their_codes(opened, spec_file, tmp_path):
    good = {"op": "open", "spec": str(spec_file), "data": source(), "store": str(tmp_path / "blobs")}
    assert refusal(opened, {**good, "data": {"source": "magic"}})["code"] == "swarm.data"
    assert "first request must be open" in refusal(opened, {"op": "initial"})["message"]
    assert "data must be an object" in refusal(opened, {**good, "data": []})["message"]
    missing = refusal(opened, {**good, "spec": str(tmp_path / "nothing")})
    assert missing["code"] == "swarm.disk"
    assert "nothing" in missing["message"]
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    assert refusal(opened, {**good, "spec": str(bad)})["code"] == "swarm.specification"
    ask(opened, **good)


def test_a_model_or_statistics_that_are_not_there_are_named(opened):
    base = ask(opened, op="initial")["blob"]
    moments = ask(opened, op="moments")["blob"]
    missing = refusal(opened, {"op": "train", "round": 1, "base": HASH, "moments": moments})
    assert (missing["code"], HASH in missing["message"]) == ("swarm.blob.missing", True)
    wrong = refusal(opened, {"op": "train", "round": 1, "base": moments, "moments": moments})
    assert wrong["code"] == "swarm.blob.invalid"
    without = refusal(opened, {"op": "train", "round": 1, "base": base, "moments": None})
    assert (without["code"], "statistics are needed" in without["message"]) == ("swarm.training", True)


def test_training_that_blows_up_is_an_error_and_leaves_no_update(tmp_path):
    path, store = tmp_path / "spec.json", FolderStore(tmp_path / "blobs")
    path.write_bytes(spec_of(learning_rate=900.0, weight_decay=900.0).canonical())
    serving = Worker(print)
    ask(serving, op="open", spec=str(path), data=source(), store=str(tmp_path / "blobs"))
    base, moments = ask(serving, op="initial")["blob"], ask(serving, op="moments")["blob"]
    before = store.blobs()
    reply = refusal(serving, {"op": "train", "round": 1, "base": base, "moments": moments})
    assert (reply["code"], "learning_rate is too high" in reply["message"]) == ("swarm.training", True)
    assert store.blobs() == before


def test_a_fault_of_ours_is_an_error_too(opened, monkeypatch, caplog):
    def broken(self):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(worker.Site, "initial", broken)
    reply = refusal(opened, {"op": "initial"})
    assert (reply["code"], reply["message"]) == ("swarm.internal", "ZeroDivisionError: oops")
    assert "a request failed" in caplog.text


def test_an_overlong_line_is_skipped_and_the_next_one_read():
    stream = io.BytesIO(b"x" * (3 * MAX_REQUEST_BYTES + 5) + b"\n\n{}\n{1}")
    first, second, third = requests(stream)
    assert len(first) <= MAX_REQUEST_BYTES + 1
    assert (second, third) == (b"{}\n", b"{1}")


def start():
    return subprocess.Popen(
        [sys.executable, "-m", "swarm.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.slow
def test_the_process_serves_lines_and_ends_with_its_input(spec_file, tmp_path):
    lines = [
        {"op": "nonsense"},
        {"op": "open", "spec": str(spec_file), "data": source(), "store": str(tmp_path / "blobs")},
        {"op": "initial"},
    ]
    with start() as process:
        out, _ = process.communicate("".join(json.dumps(line) + "\n" for line in lines).encode())
    replies = [json.loads(line) for line in out.splitlines()]
    assert [reply["event"] for reply in replies] == ["error", "done", "done"]
    assert replies[2]["blob"] == spec_of(rounds=2).model.initial
    assert process.returncode == 0


@pytest.mark.slow
def test_two_processes_make_the_same_bytes(spec_file, tmp_path):
    blobs = []
    for number in range(2):
        lines = [
            {"op": "open", "spec": str(spec_file), "data": source(), "store": str(tmp_path / str(number))},
            {"op": "initial"},
            {"op": "moments"},
        ]
        with start() as process:
            for line in lines:
                process.stdin.write(json.dumps(line).encode() + b"\n")
            process.stdin.flush()
            replies = [json.loads(process.stdout.readline()) for _ in lines]
            train = {"op": "train", "round": 1, "base": replies[1]["blob"], "moments": replies[2]["blob"]}
            out, _ = process.communicate(json.dumps(train).encode() + b"\n")
        blobs.append(json.loads(out.splitlines()[-1])["blob"])
    assert blobs[0] == blobs[1]


@pytest.mark.slow
def test_the_process_reports_progress_and_ends_in_mid_training_with_its_parent(spec_file, tmp_path):
    path = tmp_path / "long.json"
    path.write_bytes(spec_of(local_epochs=10_000).canonical())
    parent = subprocess.Popen(
        [sys.executable, "-c", "import subprocess, sys; subprocess.run([sys.executable, '-m', 'swarm.worker'])"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with parent:
        opening = {"op": "open", "spec": str(path), "data": source(), "store": str(tmp_path / "blobs")}
        base = tell(parent, opening, {"op": "initial"})["blob"]
        moments = tell(parent, {"op": "moments"})["blob"]
        progress = tell(parent, {"op": "train", "round": 1, "base": base, "moments": moments})
        assert progress["event"] == "progress"
        assert 0 < progress["step"] < progress["steps"]
        parent.send_signal(signal.SIGKILL)
        for _ in parent.stdout:  # ends when the last process that holds the pipe is gone
            pass


def tell(process, *lines):
    for line in lines:
        process.stdin.write(json.dumps(line).encode() + b"\n")
        process.stdin.flush()
        reply = json.loads(process.stdout.readline())
    return reply


NOISY = """
import os
from swarm.worker import _reserve_stdout
replies = _reserve_stdout()
print("noise", flush=True)
os.system("echo more noise")
replies.write(b"reply\\n")
replies.flush()
"""


@pytest.mark.slow
def test_whatever_is_printed_does_not_reach_the_protocol():
    done = subprocess.run([sys.executable, "-c", NOISY], capture_output=True, check=True)
    assert done.stdout == b"reply\n"
    assert done.stderr.count(b"noise") == 2


@pytest.mark.slow
def test_the_process_is_nice():
    with start() as process:
        refused = tell(process, {"op": "initial"})
        assert refused["event"] == "error"
        expected = min(os.getpriority(os.PRIO_PROCESS, 0) + worker.NICENESS, 19)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == expected
        process.communicate()
