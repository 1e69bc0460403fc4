"""What a site remembers of a study: through a restart, and past whatever a disk did to it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import WorkerError
from node.rounds.decide import Basis
from node.study_folder import StudyFolder, UpdateRecord

BASIS = Basis(3, b"b" * 32, b"m" * 32)
UPDATE = UpdateRecord(b"u" * 32, 7, 11)


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path / "studies" / "1")


def reopened(folder: StudyFolder) -> StudyFolder:
    return StudyFolder(folder.path)


def record_file(folder: StudyFolder) -> Path:
    (file,) = (folder.path / "updates").glob("*.json")
    return file


@pytest.mark.parametrize("basis", [BASIS, Basis(0, None, None), Basis(1, b"b" * 32, None)])
def test_an_update_is_remembered_by_what_it_was_computed_from(folder: StudyFolder, basis: Basis) -> None:
    folder.keep_update(basis, UPDATE)
    for present in (folder, reopened(folder)):
        assert present.update(basis) == UPDATE
        assert present.update(Basis(basis.round + 1, basis.base, basis.moments)) is None


def test_updates_of_one_round_from_two_bases_are_two_updates(folder: StudyFolder) -> None:
    other = Basis(3, b"c" * 32, b"m" * 32)
    folder.keep_update(BASIS, UPDATE)
    folder.keep_update(other, UpdateRecord(b"v" * 32, 7, 0))
    assert reopened(folder).update(BASIS) == UPDATE
    assert reopened(folder).updates_since(3) == {b"u" * 32, b"v" * 32}
    assert reopened(folder).updates_since(4) == set()


def test_updates_of_rounds_that_are_over_are_forgotten_on_the_disk_too(folder: StudyFolder) -> None:
    later = Basis(4, b"c" * 32, None)
    folder.keep_update(BASIS, UPDATE)
    folder.keep_update(later, UpdateRecord(b"v" * 32, 7, 0))
    assert folder.forget_before(3) == set()
    assert folder.forget_before(4) == {UPDATE.blob}
    for present in (folder, reopened(folder)):
        assert present.update(BASIS) is None
        assert present.update(later) is not None


def test_an_update_whose_blob_is_lost_is_forgotten(folder: StudyFolder) -> None:
    folder.keep_update(BASIS, UPDATE)
    folder.forget_updates(lambda blob: blob == UPDATE.blob)
    assert folder.update(BASIS) is None


def whole() -> dict[str, object]:
    basis = {"round": 3, "base": "62" * 32, "moments": "6d" * 32}
    return {"basis": basis, "blob": "75" * 32, "weight": 7, "epsilon_micro": 11}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        json.dumps({**whole(), "blob": "zz"}).encode(),
        json.dumps({**whole(), "blob": "ab"}).encode(),
        json.dumps({**whole(), "blob": 7}).encode(),
        json.dumps({**whole(), "weight": "7"}).encode(),
        json.dumps({**whole(), "weight": True}).encode(),
        json.dumps({**whole(), "weight": 0}).encode(),
        json.dumps({**whole(), "weight": 2**200}).encode(),
        json.dumps({**whole(), "epsilon_micro": -1}).encode(),
        json.dumps({**whole(), "basis": None}).encode(),
        json.dumps({**whole(), "basis": {"round": 3}}).encode(),
        json.dumps({**whole(), "basis": {"round": -1, "base": None, "moments": None}}).encode(),
        json.dumps({key: value for key, value in whole().items() if key != "weight"}).encode(),
    ],
)
def test_a_record_that_cannot_be_read_counts_as_absent_and_is_logged(
    folder: StudyFolder, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Basis(4, b"c" * 32, None)
    folder.keep_update(BASIS, UPDATE)
    record_file(folder).write_bytes(content)
    folder.keep_update(other, UPDATE)
    capsys.readouterr()
    present = reopened(folder)
    assert present.update(BASIS) is None
    assert present.update(other) == UPDATE
    output = "".join(capsys.readouterr())
    assert "record_unreadable" in output
    present.keep_update(BASIS, UPDATE)
    assert reopened(folder).update(BASIS) == UPDATE


def test_a_record_that_is_a_folder_counts_as_absent(folder: StudyFolder) -> None:
    (folder.path / "updates" / "00001-ab.json").mkdir(parents=True)
    assert reopened(folder).updates_since(0) == set()


def test_a_draft_that_a_killed_process_left_is_no_record(folder: StudyFolder) -> None:
    folder.keep_update(BASIS, UPDATE)
    file = record_file(folder)
    file.rename(file.with_name(f".{file.name}.4711"))
    assert reopened(folder).update(BASIS) is None


def test_a_result_is_there_once_it_is_whole(folder: StudyFolder) -> None:
    assert folder.result() is None
    folder.keep_result({"model": "ab"})
    assert folder.result() == {"model": "ab"}
    assert not folder.is_concluded()
    folder.model_path.write_bytes(b"")
    assert folder.is_concluded()
    (folder.path / "result.json").write_bytes(b"{")
    assert folder.result() is None
    assert not folder.is_concluded()


# -- what the training process says of an update ----------------------------------------------------------------------


def test_a_reply_becomes_an_update() -> None:
    reply = {"blob": "75" * 32, "weight": 7, "epsilon_micro": 11, "loss": 0.3}
    assert UpdateRecord.from_reply(reply) == UPDATE
    assert UpdateRecord.from_reply({"blob": "75" * 32, "weight": 7}) == UpdateRecord(b"u" * 32, 7, 0)


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=70) | st.lists(st.integers())


@given(st.dictionaries(st.sampled_from(["blob", "weight", "epsilon_micro"]), values))
def test_any_other_reply_is_a_workers_error(reply: dict[str, object]) -> None:
    try:
        update = UpdateRecord.from_reply(reply)
    except WorkerError as error:
        assert "described no update" in str(error)  # noqa: PT017 - most replies are refused, and how is the point
    else:
        assert len(update.blob) == 32
        assert update.weight >= 1
        assert update.epsilon_micro >= 0


def test_where_the_seconds_went_is_kept_by_round(folder: StudyFolder) -> None:
    assert folder.timings() == {}
    folder.note_timing(0, {"seconds": 1.5, "sent": 10})
    folder.note_timing(1, {"seconds": 2.5, "sent": 20})
    assert reopened(folder).timings() == {0: {"seconds": 1.5, "sent": 10}, 1: {"seconds": 2.5, "sent": 20}}


def test_a_note_that_a_power_cut_broke_off_is_lost_alone(folder: StudyFolder) -> None:
    folder.note_timing(0, {"seconds": 1.5})
    with (folder.path / "timings.jsonl").open("ab") as file:
        file.write(b'\n{"round": 1, "sec')
    folder.note_timing(2, {"seconds": 2.5})
    assert folder.timings() == {0: {"seconds": 1.5}, 2: {"seconds": 2.5}}
