"""Parquet files: what is read, what is refused with row and column named, and what hostile files do."""

import contextlib
import datetime
import decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learning_samples import image_spec, tiny_spec
from pyarrow import parquet

from swarm.data import load
from swarm.data.misfits import Refusal, Tally
from swarm.data.parquet import read_parquet
from swarm.errors import DataError

ROWS = 20
A = [float(row % 7) for row in range(ROWS)]
B = [row % 5 for row in range(ROWS)]
Y = ["yes" if row % 2 else "no" for row in range(ROWS)]


def parquet_file(tmp_path, name="records.parquet", **columns):
    path = tmp_path / name
    parquet.write_table(pa.table({"a": A, "b": B, "y": Y, **columns}), path)
    return {"source": "parquet", "path": str(path)}


def refusal(source, spec=None):
    with pytest.raises(DataError) as caught:
        load(source, spec or tiny_spec())
    return str(caught.value)


def replaced(values, row, value):
    return [*values[:row], value, *values[row + 1 :]]


def test_a_file_is_read_in_the_order_of_the_study_and_other_columns_are_not(tmp_path):
    path = tmp_path / "records.parquet"
    nested = [{"name": "Doe"}] * ROWS
    parquet.write_table(pa.table({"y": Y, "patient": nested, "b": B, "a": A}), path)
    data = load({"source": "parquet", "path": str(path), "test_fraction": 0.0}, tiny_spec())
    assert data.train.names == ("a", "b")
    assert data.train.features.tolist() == [[a, b] for a, b in zip(A, B, strict=True)]
    assert data.train.labels.tolist() == [0, 1] * 10


def test_it_gives_what_the_same_csv_file_gives(tmp_path):
    lines = [f"{a},{b},{y}" for a, b, y in zip(A, B, Y, strict=True)]
    (tmp_path / "records.csv").write_text("\n".join(["a,b,y", *lines]))
    table = {"source": "csv", "path": str(tmp_path / "records.csv")}
    sharding = {"shard": 1, "shards": 2, "seed": 3}
    first, second = (load({**one, **sharding}, tiny_spec()) for one in (table, parquet_file(tmp_path)))
    for one, other in ((first.train, second.train), (first.test, second.test)):
        np.testing.assert_array_equal(one.features, other.features)
        np.testing.assert_array_equal(one.labels, other.labels)


def test_a_test_part_can_be_a_file_of_its_own(tmp_path):
    test = parquet_file(tmp_path, "test.parquet")["path"]
    data = load({**parquet_file(tmp_path), "test_path": test}, tiny_spec())
    assert (len(data.train), len(data.test)) == (ROWS, ROWS)


@pytest.mark.parametrize(
    "column",
    [
        pa.array(B, pa.uint8()),
        pa.array(B, pa.float32()),
        pa.array([bool(value) for value in B]),
        pa.array([decimal.Decimal(value) / 2 for value in B]),
        pa.array(B).dictionary_encode(),
    ],
)
def test_every_plain_type_of_number_is_read(tmp_path, column):
    data = load({**parquet_file(tmp_path, b=column), "test_fraction": 0.0}, tiny_spec())
    assert data.train.features[:, 1].tolist() == [float(value) for value in column.to_pylist()]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_classes_are_texts_of_any_kind(tmp_path, kind):
    assert load(parquet_file(tmp_path, y=pa.array(Y).cast(kind)), tiny_spec()).samples == ROWS


def test_classes_that_are_named_by_whole_numbers_are_read_by_name(tmp_path):
    spec = tiny_spec(data={"classes": ["2", "1"]})
    data = load({**parquet_file(tmp_path, y=[1, 2] * 10), "test_fraction": 0.0}, spec)
    assert data.train.labels.tolist() == [1, 0] * 10


def test_a_regression_takes_numbers(tmp_path):
    spec = tiny_spec(study={"task": "regression"}, data={"classes": []})
    assert load(parquet_file(tmp_path, y=A), spec).train.labels.dtype == np.float32
    assert refusal(parquet_file(tmp_path), spec).endswith(
        "the column 'y' is of the type string, not of numbers",
    )
    assert "row 3, column 'y': the value is missing" in refusal(parquet_file(tmp_path, y=replaced(A, 2, None)), spec)


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"a": replaced(A, 4, None)}, "row 5, column 'a': the value is missing or not finite"),
        ({"a": replaced(A, 4, float("nan"))}, "row 5, column 'a': the value is missing or not finite"),
        ({"a": [None] * ROWS}, "row 1, column 'a': the value is missing or not finite"),
        ({"a": replaced(A, 4, 1e300)}, "row 5, column 'a': the value doesn't fit a 32-bit float"),
        ({"a": replaced(A, 19, 7.0)}, "row 20, column 'a': 7 is outside 0 to 6 years"),
        ({"b": replaced(B, 0, 9)}, "row 1, column 'b': 9 is not one of 0, 1, 2, 3, 4"),
        ({"y": replaced(Y, 7, "maybe")}, "row 8, column 'y': 'maybe' is not one of the classes no, yes"),
        ({"y": replaced(Y, 7, None)}, "row 8, column 'y': the label is missing"),
        ({"y": [1.0] * ROWS}, "the column 'y' is of the type double, not of text or whole numbers"),
        ({"a": Y}, "the column 'a' is of the type string, not of numbers"),
        ({"a": [[1.0]] * ROWS}, "the column 'a' is of the type list<element: double>, not of numbers"),
        ({"a": [{"v": 1}] * ROWS}, "the column 'a' is of the type struct<v: int64>, not of numbers"),
        ({"a": [b"1"] * ROWS}, "the column 'a' is of the type binary, not of numbers"),
        ({"a": [datetime.datetime(2024, 1, 1)] * ROWS}, "the column 'a' is of the type timestamp[us], not of numbers"),
    ],
)
def test_what_does_not_fit_is_named_by_row_and_column(tmp_path, columns, fault):
    features = [{"name": "a", "unit": "years", "range": [0, 6]}, {"name": "b", "categories": [0, 1, 2, 3, 4]}]
    if columns.get("a", [0])[4:5] == [1e300]:
        features[0] = "a"
    source = parquet_file(tmp_path, **columns)
    assert refusal(source, tiny_spec(data={"features": features})) == f"{source['path']}{separator(fault)}{fault}"


def separator(fault):
    return ", " if fault.startswith("row") else ": "


def test_missing_and_doubled_columns_are_refused(tmp_path):
    path = tmp_path / "records.parquet"
    source = {"source": "parquet", "path": str(path)}
    parquet.write_table(pa.table({"a": A, "y": Y}), path)
    assert "these columns are missing: 'b'" in refusal(source)
    parquet.write_table(pa.Table.from_arrays([pa.array(v) for v in (A, A, B, Y)], ["a", "a", "b", "y"]), path)
    assert "these columns appear twice: 'a'" in refusal(source)
    tally = Tally()
    read_parquet(path, tiny_spec().data, tally)
    assert [str(misfit) for misfit in tally.misfits] == [f"{path}: these columns appear twice: 'a'"]


def test_rows_are_numbered_through_all_batches_and_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("swarm.data.parquet.BATCH_ROWS", 3)
    path = tmp_path / "records.parquet"
    table = pa.table({"a": replaced(replaced(A, 13, None), 17, None), "b": B, "y": replaced(Y, 16, "maybe")})
    parquet.write_table(table, path, row_group_size=7)
    tally = Tally()
    records = read_parquet(path, tiny_spec().data, tally)
    assert [(misfit.column, misfit.places) for misfit in tally.misfits] == [("a", (14, 18)), ("y", (17,))]
    assert records.features[:, 1].tolist() == B


def test_what_is_no_table_of_records_is_refused(tmp_path, monkeypatch):
    assert "give an NPZ file, or images" in refusal(parquet_file(tmp_path), image_spec())
    assert "can't read" in refusal({"source": "parquet", "path": str(tmp_path / "nothing.parquet")})
    assert "is not a Parquet file, or is damaged" in refusal({"source": "parquet", "path": str(tmp_path)})
    (tmp_path / "x.parquet").write_bytes(b"PAR1 not really PAR1")
    assert "is not a Parquet file, or is damaged" in refusal({"source": "parquet", "path": str(tmp_path / "x.parquet")})
    source = parquet_file(tmp_path)
    parquet.write_table(pa.table({"a": A, "b": B, "y": Y}).slice(0, 0), source["path"])
    assert "holds no records" in refusal(source)


def test_absurd_sizes_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    many = 100_000
    path = tmp_path / "bomb.parquet"
    parquet.write_table(pa.table({"a": np.zeros(many), "b": np.zeros(many), "y": ["no"] * many}), path)
    source = {"source": "parquet", "path": str(path)}
    monkeypatch.setattr("swarm.data.parquet.MAX_UNPACKED_BYTES", 1000)
    assert "at most 1000 are read: export the study's columns alone" in refusal(source)
    monkeypatch.setattr("swarm.data.table.MAX_ROWS", 10)
    assert "has more than 10 rows" in refusal(source)


@settings(max_examples=150, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 2**30), st.integers(1, 255)), min_size=1, max_size=8), st.integers(0, 2000))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(tmp_path_factory, flips, cut):
    folder = tmp_path_factory.getbasetemp() / "damaged"
    folder.mkdir(exist_ok=True)
    path = folder / "records.parquet"
    parquet.write_table(pa.table({"a": A, "b": B, "y": Y}), path)
    data = bytearray(path.read_bytes())
    for place, flip in flips:
        data[place % len(data)] ^= flip
    path.write_bytes(data[: len(data) - cut % 3 * cut % len(data)])
    with contextlib.suppress(DataError):
        records = read_parquet(path, tiny_spec().data, Refusal())
        assert np.isfinite(records.features).all()
