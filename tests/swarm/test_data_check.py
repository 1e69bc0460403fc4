"""The check finds everything that loading would refuse, and fits exactly where loading succeeds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learning_samples import image_spec, tiny_spec

from swarm.data import load, parse
from swarm.data.check import check
from swarm.errors import DataError

FEATURES = [{"name": "a", "unit": "years", "range": [0, 6]}, {"name": "b", "categories": [0, 1]}]
SPEC = tiny_spec(data={"features": FEATURES})
GOOD = [f"{row % 7},{row % 2},{'yes' if row % 2 else 'no'}" for row in range(20)]


def checked(path, lines, header="a,b,y", spec=SPEC, **fields):
    path.write_text("\n".join([header, *lines]) + "\n")
    source = parse({"source": "csv", "path": str(path), **fields})
    return source, check(source, spec)


def told(found):
    return [(one.column, one.fault.kind.value, one.count, one.places, one.values) for one in found.misfits]


def test_data_that_fits_is_summed_up(tmp_path):
    source, found = checked(tmp_path / "r.csv", GOOD)
    data = load(source, SPEC)
    assert found.fits
    assert (found.records, found.remarks) == (20, ())
    for part, loaded in ((found.train, data.train), (found.test, data.test)):
        assert part.records == len(loaded)
        assert tuple(part.support.values()) == loaded.support(2)
    age, other = found.features
    assert (age.name, age.unit, age.minimum, age.median, age.maximum) == ("a", "years", 0, 3, 6)
    assert (age.categories, other.categories) == ({}, {"0": 10, "1": 10})


def test_every_row_and_column_that_does_not_fit_is_found(tmp_path):
    bad = ["7,0,no", "tall,3,maybe", ",1,", "-1,1", "8,1e999,yes", "1e300,0,no", "9,0,no", "10,0,no", "11,0,no"]
    _, found = checked(tmp_path / "r.csv", [*GOOD, *bad])
    assert told(found) == [
        ("a", "not_a_number", 1, (23,), ("'tall'",)),
        ("y", "unknown_class", 1, (23,), ("'maybe'",)),
        ("a", "missing", 1, (24,), ("",)),
        ("y", "missing", 1, (24,), ("",)),
        ("", "row_length", 1, (25,), ("2",)),
        ("b", "not_a_number", 1, (26,), ("'1e999'",)),
        ("a", "out_of_range", 6, (22, 26, 27, 28, 29), ("7", "8", "1e+300", "9", "10")),
        ("b", "unknown_category", 1, (23,), ("3",)),
    ]
    assert found.misfits[-2].fault.expected == "0 to 6 years"
    assert (found.records, found.count) == (28, 13)


def test_missing_and_other_columns_do_not_hide_the_rest(tmp_path):
    _, found = checked(tmp_path / "r.csv", ["Doe,7,no", "Doe,1,maybe"], header="name,a,y")
    assert told(found) == [
        ("b", "missing_column", 1, (), ()),
        ("y", "unknown_class", 1, (3,), ("'maybe'",)),
        ("a", "out_of_range", 1, (2,), ("7",)),
    ]
    (remark,) = found.remarks
    assert remark.endswith("these columns are not in the study's schema and are not read: 'name'")
    _, found = checked(tmp_path / "r.csv", ["1,0"], header="a,b")
    assert [one.fault.kind for one in found.misfits] == ["missing_column"]
    assert (found.train.records, found.test.records) == (0, 0)


def test_both_parts_are_checked_each_by_its_file(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,y\n9,0,no\n")
    _, found = checked(tmp_path / "r.csv", [*GOOD, "8,0,no"], test_path=str(tmp_path / "t.csv"))
    assert [(one.origin[-5:], one.places) for one in found.misfits] == [("r.csv", (22,)), ("t.csv", (2,))]
    assert (found.train.records, found.test.records) == (21, 1)


def test_what_cannot_be_read_is_one_misfit_beside_the_others(tmp_path):
    _, found = checked(tmp_path / "r.csv", [*GOOD, "8,0,no"], test_path=str(tmp_path / "none.csv"))
    assert [one.fault.kind.value for one in found.misfits] == ["out_of_range", "unreadable"]
    assert str(found.misfits[1]).startswith("can't read ")
    assert (found.train, found.records) == (None, 21)


def test_a_training_part_that_is_too_small_or_of_one_class_is_told_once_all_labels_are_known(tmp_path):
    spec = tiny_spec(data={"features": FEATURES}, privacy={"min_samples": 10})
    _, found = checked(tmp_path / "r.csv", ["1,0,no"] * 5, spec=spec)
    assert [one.fault.kind.value for one in found.misfits] == ["too_few_records", "one_class"]
    assert [one.fault.value for one in found.misfits] == ["4", "'no'"]
    _, found = checked(tmp_path / "r.csv", [*["1,0,no"] * 5, "1,0,?"], spec=spec)
    assert [one.fault.kind.value for one in found.misfits] == ["missing"]


def test_arrays_are_checked_whole_and_summed_up_by_channel(tmp_path):
    x = np.zeros((20, 2, 8, 8))
    x[:, 1] = 5
    x[3, 0, 2, 2] = np.nan
    x[7:9, 1] = np.inf
    x[9, 1, 0, 0] = -1e300
    y = np.arange(20) % 3
    y[11], y[12] = 3, -1
    np.savez(tmp_path / "r.npz", x=x, y=y)
    found = check(parse({"source": "npz", "path": str(tmp_path / "r.npz")}), image_spec())
    assert told(found) == [
        ("the array", "missing", 3, (4, 8, 9), ("", "", "")),
        ("y", "unknown_class", 2, (12, 13), ("3", "-1")),
        ("the array", "out_of_range", 1, (10,), ("1e+300",)),
    ]
    assert [(one.name, one.minimum, one.median, one.maximum) for one in found.features] == [
        ("channel 1", 0, 0, 0),
        ("channel 2", -1e300, 5, 5),
    ]


def test_a_regression_has_no_classes(tmp_path):
    spec = tiny_spec(study={"task": "regression"}, data={"classes": []})
    _, found = checked(tmp_path / "r.csv", [f"{row},1,{row}" for row in range(12)], spec=spec)
    assert found.fits
    assert (found.train.records, found.train.support) == (9, {})


cells = st.sampled_from(["0", "1", "6", "7", "-0.1", "", "nan", "tall", "1e39", "1e400", "no", "yes"])
usual = st.tuples(st.sampled_from("0123456"), st.sampled_from("01"), st.sampled_from(["no", "yes"])).map(list)
rows = st.one_of(usual, usual, usual, st.lists(cells, min_size=2, max_size=3))
headers = st.sampled_from(["a,b,y"] * 6 + ["b,a,y", "a,b,c", "a,a,y"])


@settings(max_examples=200)
@given(st.lists(rows, max_size=12), headers)
def test_a_check_fits_exactly_where_loading_succeeds(tmp_path_factory, table, header):
    source, found = checked(tmp_path_factory.getbasetemp() / "any.csv", map(",".join, table), header)
    if found.fits:
        assert load(source, SPEC).samples == found.records
    else:
        with pytest.raises(DataError) as caught:
            load(source, SPEC)
        assert str(caught.value) == str(found.misfits[0])
