"""Local data: what is read, and what is refused at the door with the place named."""

import numpy as np
import pytest
from learning_samples import breast_cancer_spec, image_spec, tiny_spec

from swarm.data import Dataset, Part, load, parse
from swarm.data.breast_cancer import read_breast_cancer
from swarm.data.misfits import Refusal
from swarm.errors import DataError
from swarm.studies import draft

GOOD = [f"{row % 7},{row % 5},{'yes' if row % 2 else 'no'}" for row in range(20)]


def csv_file(tmp_path, *lines, header="a,b,y"):
    path = tmp_path / "records.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return {"source": "csv", "path": str(path)}


def refusal(source, spec=None):
    with pytest.raises(DataError) as caught:
        load(source, spec or tiny_spec())
    return str(caught.value)


def test_a_csv_file_is_read_in_the_order_of_the_study(tmp_path):
    lines = [f"{line.split(',')[2]},{line.split(',')[1]},{line.split(',')[0]}" for line in GOOD]
    data = load({**csv_file(tmp_path, *lines, header="y,b,a"), "test_fraction": 0.0}, tiny_spec())
    assert data.train.names == ("a", "b")
    assert data.train.features[6].tolist() == [6, 1]
    assert data.train.labels.tolist() == [0, 1] * 10
    assert data.train.features.dtype == np.float32
    assert len(data.test) == 0


def test_a_test_part_is_held_back_and_is_the_same_each_time(tmp_path):
    source = csv_file(tmp_path, *GOOD)
    first, second = load(source, tiny_spec()), load(source, tiny_spec())
    assert (len(first.train), len(first.test), first.samples) == (16, 4, 20)
    assert first.test.support(2) == (2, 2)
    np.testing.assert_array_equal(first.test.features, second.test.features)
    other = load({**source, "seed": 1}, tiny_spec())
    assert other.test.features.tolist() != first.test.features.tolist()


def test_a_test_part_can_be_a_file_of_its_own_and_hold_one_class(tmp_path):
    held_out = tmp_path / "test.csv"
    held_out.write_text("a,b,y\n1,2,yes\n3,4,yes\n")
    data = load({**csv_file(tmp_path, *GOOD), "test_path": str(held_out)}, tiny_spec())
    assert len(data.train) == 20
    assert data.test.support(2) == (0, 2)


@pytest.mark.parametrize("missing", ["", "?", "NA", "nan", "None"])
def test_a_missing_value_is_named_with_its_row_and_column(tmp_path, missing):
    message = refusal(csv_file(tmp_path, *GOOD, f"1,{missing},yes"))
    assert "row 22, column 'b': the value is missing" in message
    assert "records.csv" in message


@pytest.mark.parametrize("text", ["tall", "1e999", "inf", "1_000", "0x10"])
def test_what_is_not_a_finite_number_is_refused(tmp_path, text):
    message = refusal(csv_file(tmp_path, f"{text},1,yes", *GOOD))
    assert "row 2, column 'a'" in message
    assert "number" in message


def test_a_label_that_is_no_class_is_refused_with_the_classes(tmp_path):
    assert "row 2, column 'y': 'maybe' is not one of the classes no, yes" in refusal(csv_file(tmp_path, "1,2,maybe"))
    assert "the label is missing" in refusal(csv_file(tmp_path, "1,2,"))


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        ("a,y", "these columns are missing: 'b'"),
        ("a,c,y", "these columns are missing: 'b'"),
        ("a,b,a,y", "these columns appear twice: 'a'"),
        ("", "is empty"),
    ],
)
def test_a_wrong_header_is_refused(tmp_path, header, fault):
    assert fault in refusal(csv_file(tmp_path, *GOOD, header=header))


def test_other_columns_are_not_read(tmp_path):
    lines = [f"Mrs Doe,{line}" for line in GOOD]
    data = load(csv_file(tmp_path, *lines, header="name,a,b,y"), tiny_spec())
    assert data.train.names == ("a", "b")


def test_a_row_of_another_length_is_refused(tmp_path):
    assert "row 3: 2 values where the header has 3" in refusal(csv_file(tmp_path, "1,2,yes", "1,2"))


def test_values_outside_range_and_categories_are_refused(tmp_path):
    schema = {"features": [{"name": "a", "range": [0, 6]}, {"name": "b", "categories": [0, 1, 2, 3, 4]}]}
    spec = tiny_spec(data=schema)
    assert load(csv_file(tmp_path, *GOOD), spec).samples == 20
    assert "row 22, column 'a': 7 is outside 0 to 6" in refusal(csv_file(tmp_path, *GOOD, "7,1,no"), spec)
    assert "row 22, column 'b': 5 is not one of 0, 1, 2, 3, 4" in refusal(csv_file(tmp_path, *GOOD, "1,5,no"), spec)


def test_a_value_beyond_float32_is_refused(tmp_path):
    assert "row 2, column 'a': the value doesn't fit a 32-bit float" in refusal(csv_file(tmp_path, "1e300,1,no", *GOOD))


def test_one_class_only_is_refused_unless_the_site_insists(tmp_path):
    source = csv_file(tmp_path, *[f"{row},1,yes" for row in range(9)])
    assert "every record of the training part is of the class 'yes'" in refusal(source)
    assert load({**source, "allow_one_class": True}, tiny_spec()).train.support(2)[0] == 0


def test_no_records_and_too_few_are_refused(tmp_path):
    assert "holds no records" in refusal(csv_file(tmp_path))
    few = tiny_spec(privacy={"min_samples": 10})
    assert "the training part has 4 records; this study needs 10 at least" in refusal(
        csv_file(tmp_path, *GOOD[:6]), few
    )


def test_files_that_are_not_tables_are_refused(tmp_path):
    assert "can't read" in refusal({"source": "csv", "path": str(tmp_path / "nothing.csv")})
    path = tmp_path / "records.csv"
    path.write_bytes(b"a,b,y\n\xff\xfe,1,no\n")
    assert "not a CSV file in UTF-8" in refusal({"source": "csv", "path": str(path)})
    path.write_text('a,b,y\n"1"2,1,no\n')
    assert "not a CSV file" in refusal({"source": "csv", "path": str(path)})
    assert "can't read" in refusal({"source": "csv", "path": str(tmp_path)})


def test_a_byte_order_mark_and_blank_lines_do_no_harm(tmp_path):
    path = tmp_path / "records.csv"
    path.write_bytes(b"\xef\xbb\xbfa,b,y\r\n" + "\r\n\r\n".join(GOOD).encode())
    assert load({"source": "csv", "path": str(path)}, tiny_spec()).samples == 20


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ({}, "data.source"),
        ({"source": "magic"}, "data.source"),
        ({"source": "csv"}, "data.path: Field required"),
        ({"source": "csv", "path": "x", "sep": ";"}, "data.sep: Extra inputs are not permitted"),
        ({"source": "csv", "path": "x", "shard": 0}, "give shard and shards, or neither"),
        ({"source": "breast-cancer", "shard": 4, "shards": 4}, "shard must be from 0 to 3"),
        ({"source": "breast-cancer", "shard": -1, "shards": 4}, "data.shard"),
        ({"source": "breast-cancer", "test_fraction": 1.0}, "data.test_fraction"),
        ({"source": "heart-disease", "path": "x", "center": "budapest"}, "data.center"),
    ],
)
def test_a_bad_source_object_is_refused_with_the_field(source, fault):
    with pytest.raises(DataError) as caught:
        parse(source)
    assert fault in str(caught.value)


def npz_file(tmp_path, **arrays):
    path = tmp_path / "records.npz"
    np.savez(path, **arrays)
    return {"source": "npz", "path": str(path)}


X = np.arange(40.0).reshape(20, 2)
Y = np.arange(20) % 2


def test_an_archive_is_read_with_and_without_a_test_part(tmp_path):
    data = load(npz_file(tmp_path, x=X, y=Y), tiny_spec())
    assert (len(data.train), len(data.test)) == (16, 4)
    data = load(npz_file(tmp_path, x=X, y=np.where(Y, "yes", "no"), x_test=X[:3], y_test=Y[:3]), tiny_spec())
    assert (len(data.train), len(data.test)) == (20, 3)
    assert data.train.labels.tolist() == Y.tolist()


def test_images_are_flattened(tmp_path):
    spec = image_spec()
    images = np.arange(12 * 128, dtype=np.uint8).reshape(12, 2, 8, 8)
    data = load({**npz_file(tmp_path, x=images, y=np.arange(12) % 3), "test_fraction": 0.0}, spec)
    assert data.train.features.shape == (12, 128)
    np.testing.assert_array_equal(data.train.features[3], images[3].ravel())


@pytest.mark.parametrize(
    ("arrays", "fault"),
    [
        ({"x": X}, "the array 'y' is missing"),
        ({"x": X, "y": Y, "x_test": X}, "the array 'y_test' is missing"),
        ({"x": X, "y": Y, "z": Y}, "unknown array 'z'"),
        ({"x": X[:, :1], "y": Y}, "x has the shape (20, 1); the study's is (records, 2)"),
        ({"x": X, "y": Y[:5]}, "y has the shape (5,) where x has 20 records"),
        ({"x": X[:0], "y": Y[:0]}, "x holds no records"),
        ({"x": X.astype(complex), "y": Y}, "not of numbers"),
        ({"x": X, "y": Y + 1}, "row 2, column 'y': 2 is not a class index from 0 to 1"),
        ({"x": X, "y": Y - 1}, "row 1, column 'y': -1 is not a class index from 0 to 1"),
        ({"x": X, "y": Y.astype(float)}, "it must hold class indices or class names"),
        (
            {"x": X, "y": np.array(["yes"] * 19 + ["maybe"])},
            "row 20, column 'y': 'maybe' is not one of the classes no, yes",
        ),
        ({"x": np.where(X == 7, np.nan, X), "y": Y}, "row 4, column 'b': the value is missing or not finite"),
        ({"x": X.astype(object), "y": Y}, "not a NumPy archive of plain numbers"),
    ],
)
def test_a_bad_archive_is_refused(tmp_path, arrays, fault):
    assert fault in refusal(npz_file(tmp_path, **arrays))


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "records.npz"
    path.write_bytes(b"PK not really")
    assert "not a NumPy archive" in refusal({"source": "npz", "path": str(path)})


def test_oversized_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("swarm.data.arrays.MAX_ROWS", 19)
    assert "x has more than 19 records" in refusal(npz_file(tmp_path, x=X, y=Y))
    monkeypatch.setattr("swarm.data.arrays.MAX_ARCHIVE_BYTES", 100)
    assert "at most 100 are read" in refusal(npz_file(tmp_path, x=X, y=Y))
    monkeypatch.setattr("swarm.data.table.MAX_ROWS", 3)
    assert "has more than 3 rows" in refusal(csv_file(tmp_path, *GOOD))
    monkeypatch.setattr("swarm.data.table.MAX_FILE_BYTES", 10)
    assert "at most 10 are read" in refusal(csv_file(tmp_path, *GOOD))


def test_tables_and_arrays_are_not_taken_for_each_other(tmp_path):
    assert "give an NPZ file" in refusal(csv_file(tmp_path, *GOOD), image_spec())
    regression = tiny_spec(study={"task": "regression"}, data={"classes": []})
    assert "not of numbers" in refusal(npz_file(tmp_path, x=X, y=np.where(Y, "yes", "no")), regression)
    sharded = {**npz_file(tmp_path, x=X, y=Y), "shard": 0, "shards": 2}
    assert "only the records of a classification" in refusal(sharded, regression)


def test_a_regression_takes_numbers(tmp_path):
    spec = tiny_spec(study={"task": "regression"}, data={"classes": []})
    source = csv_file(tmp_path, *[f"{row},1,{row / 4}" for row in range(12)])
    data = load(source, spec)
    assert data.train.labels.dtype == np.float32
    assert len(data.test) == 3


def test_breast_cancer_is_there_with_malignant_as_positive_class():
    spec = breast_cancer_spec()
    records = read_breast_cancer(spec.data, Refusal())
    assert records.features.shape == (569, 30)
    assert np.bincount(records.labels).tolist() == [357, 212]
    assert load({"source": "breast-cancer"}, spec).samples == 569


def test_breast_cancer_refuses_another_schema():
    assert "the study's classes must be benign, malignant" in refusal({"source": "breast-cancer"})
    classes = {"classes": ["benign", "malignant"]}
    assert "are missing: 'a', 'b'" in refusal({"source": "breast-cancer"}, tiny_spec(data=classes))


HEART_ROW = "63.0,1.0,4.0,145.0,233.0,1.0,2.0,150.0,0.0,2.3,3.0,0.0,6.0,{}"


def heart_file(tmp_path, *lines):
    (tmp_path / "processed.va.data").write_text("\n".join(lines) + "\n")
    return {"source": "heart-disease", "path": str(tmp_path), "center": "va", "seed": 1}


def test_heart_disease_is_encoded_as_flamby_does(tmp_path):
    rows = [HEART_ROW.format(row % 4) for row in range(30)] + ["63,1,4,145,?,1,2,150,0,2.3,3,0,6,0"]
    spec = draft("heart-disease")
    data = load(heart_file(tmp_path, *rows), spec)
    assert data.samples == 30
    assert len(data.train) == 19
    values = dict(zip(data.train.names, data.train.features[0].tolist(), strict=True))
    assert (values["cp_2"], values["cp_3"], values["cp_4"], values["restecg_1"], values["restecg_2"]) == (0, 0, 1, 0, 1)
    assert values["oldpeak"] == pytest.approx(2.3)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("1,2,3", "row 2: 3 values where 14 are expected"),
        (HEART_ROW.format(7), "row 2, column 'num': 7 is not one of 0, 1, 2, 3, 4"),
        (HEART_ROW.format(0).replace("4.0", "9.0", 1), "row 2, column 'cp': 9 is not one of 1, 2, 3, 4"),
        (HEART_ROW.format(0).replace("63.0", "old"), "row 2, column 'age': 'old' is not a number"),
        (HEART_ROW.format(0).replace("63.0", "630"), "row 2, column 'age': 630 is outside 0 to 120"),
    ],
)
def test_a_bad_heart_disease_file_is_refused(tmp_path, row, fault):
    rows = [HEART_ROW.format(0), row, *[HEART_ROW.format(number % 2) for number in range(30)]]
    message = refusal({**heart_file(tmp_path, *rows), "seed": 0}, draft("heart-disease"))
    assert fault in message
    assert "processed.va.data" in message


def test_a_heart_disease_folder_without_files_is_refused(tmp_path):
    source = {"source": "heart-disease", "path": str(tmp_path), "center": "va"}
    assert "can't read" in refusal(source, draft("heart-disease"))
    assert "no complete records" in refusal(heart_file(tmp_path, "?" + ",?" * 13), draft("heart-disease"))
    assert "the study's classes must be" in refusal(heart_file(tmp_path, HEART_ROW.format(0)))


def test_what_is_not_the_uci_file_is_refused(tmp_path, monkeypatch):
    source = heart_file(tmp_path, HEART_ROW.format(0), "", HEART_ROW.format(1))
    path = tmp_path / "processed.va.data"
    assert "the training part has 1 records" in refusal(source, draft("heart-disease"))
    path.write_bytes(b"\xff\x00")
    assert "it isn't plain text" in refusal(source, draft("heart-disease"))
    monkeypatch.setattr("swarm.data.heart_disease.MAX_BYTES", 100)
    path.write_text("1," * 100)
    assert "more than 100 bytes" in refusal(source, draft("heart-disease"))


def test_a_dataset_refuses_what_does_not_fit():
    ones = np.ones((3, 2), np.float32)
    labels = np.zeros(3, np.int64)
    for features, given in [
        (ones.ravel(), labels),
        (ones, labels[:2]),
        (ones.astype(np.float64), labels),
        (np.full((3, 2), np.nan, np.float32), labels),
        (ones[:, :1], labels),
    ]:
        with pytest.raises(DataError):
            Dataset(features, given, ("a", "b"), Part.TRAIN)


def test_a_dataset_cannot_be_changed():
    dataset = Dataset(np.ones((3, 2), np.float32), np.zeros(3, np.int64), ("a", "b"), Part.TRAIN)
    with pytest.raises(ValueError, match="read-only"):
        dataset.features[0, 0] = 2
