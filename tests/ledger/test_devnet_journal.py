"""The devnet's journal gives back what was written, cuts off what was torn, and refuses what is not its own."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.devnet.journal import Journal, Record
from ledger.errors import DevnetError, JournalInvalid

RECORDS = st.builds(
    Record,
    number=st.integers(1, 10**9),
    timestamp=st.integers(0, 2**40),
    transactions=st.lists(st.binary(max_size=40).map(lambda raw: "0x" + raw.hex()), max_size=3).map(tuple),
    parent=st.none() | st.binary(min_size=32, max_size=32).map(lambda raw: "0x" + raw.hex()),
)


def filled(path: Path, blocks: int) -> list[Record]:
    records = [Record(number, 1000 + number, ("0x01",) * (number % 3)) for number in range(1, blocks + 1)]
    journal = Journal(path, 7, 1000)
    for record in records:
        journal.append(record, durable=bool(record.transactions))
    journal.close()
    return records


def read(path: Path, chain_id: int = 7) -> list[Record]:
    journal = Journal(path, chain_id, 5)
    journal.close()
    return journal.records


@given(RECORDS)
def test_a_record_survives_its_line(record: Record) -> None:
    assert Record.from_line(record.to_line()) == record


def test_a_journal_gives_back_what_was_written(tmp_path: Path) -> None:
    records = filled(tmp_path / "j", 20)
    journal = Journal(tmp_path / "j", 7, 5)
    assert (journal.genesis_time, journal.records) == (1000, records)
    journal.append(Record(21, 2000), durable=False)
    journal.close()
    assert read(tmp_path / "j") == [*records, Record(21, 2000)]


def test_a_torn_end_is_cut_off_wherever_it_was_torn(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    records = filled(whole, 3)
    content = whole.read_bytes()
    header = content.index(b"\n") + 1
    for size in range(header, len(content)):
        torn = tmp_path / f"torn-{size}"
        torn.write_bytes(content[:size])
        kept = content[:size].count(b"\n") - 1
        assert read(torn) == records[:kept]
        journal = Journal(torn, 7, 5)
        journal.append(records[kept], durable=True)
        journal.close()
        assert read(torn) == records[: kept + 1]


def test_a_torn_header_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b'{"versi')
    journal = Journal(tmp_path / "j", 7, 1234)
    journal.close()
    assert (journal.genesis_time, read(tmp_path / "j")) == (1234, [])


def test_a_correction_replaces_the_record_of_its_number(tmp_path: Path) -> None:
    records = filled(tmp_path / "j", 3)
    journal = Journal(tmp_path / "j", 7, 5)
    journal.append(Record(3, 4000, ("0x09",)), durable=True)
    journal.append(Record(4, 5000), durable=True)
    journal.close()
    assert read(tmp_path / "j") == [*records[:2], Record(3, 4000, ("0x09",)), Record(4, 5000)]


def test_only_one_process_has_a_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", 7, 5)
    with pytest.raises(DevnetError, match="is running"):
        Journal(tmp_path / "j", 7, 5)
    journal.close()
    Journal(tmp_path / "j", 7, 5).close()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"rubbish", "line 3"),
        (b'{"n":2,"t":"x"}', "line 3"),
        (b'{"n":9,"t":1}', "block 9 after block 1"),
        (b'{"n":0,"t":1}', "block 0 after block 1"),
        (b"[]", "line 3"),
        (b"\xff\xfe", "line 3"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes, said: str) -> None:
    filled(tmp_path / "j", 1)
    with (tmp_path / "j").open("ab") as file:
        file.write(line + b"\n" + Record(2, 1).to_line())
    with pytest.raises(JournalInvalid, match=said):
        read(tmp_path / "j")


@pytest.mark.parametrize("header", [b"{}", b"[]", b"x", b'{"version":9,"chain_id":7,"genesis_time":1}'])
def test_another_file_is_refused_and_left_alone(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "j").write_bytes(header + b"\n")
    with pytest.raises(JournalInvalid):
        read(tmp_path / "j")
    assert (tmp_path / "j").read_bytes() == header + b"\n"


def test_the_journal_of_another_chain_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "j", 1)
    with pytest.raises(JournalInvalid, match="chain 7, not of chain 8"):
        read(tmp_path / "j", chain_id=8)
