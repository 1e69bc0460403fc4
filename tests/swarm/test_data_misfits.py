"""Misfits: how one is told, how many are counted, and the rules for single values."""

from math import isfinite, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.data.misfits import SHOWN, Fault, Kind, Misfit, Refusal, Tally, listing, shown
from swarm.data.rules import cell, class_index, number, outside, too_large, uncategorised
from swarm.errors import DataError
from swarm.spec import DataSection, Feature

FAULT = Fault(Kind.NOT_A_NUMBER, "'tall' is not a number", "'tall'", "a number")
columns = st.sampled_from(["a", "b"])
kinds = st.sampled_from([Kind.MISSING, Kind.OUT_OF_RANGE])


@pytest.mark.parametrize(
    ("misfit", "sentence"),
    [
        (Misfit.at("r.csv", 3, "a", FAULT), "r.csv, row 3, column 'a': 'tall' is not a number"),
        (Misfit.at("r.csv", 3, "", FAULT), "r.csv, row 3: 'tall' is not a number"),
        (Misfit.at("scans", "p/1.png", "", FAULT), "scans, file 'p/1.png': 'tall' is not a number"),
        (Misfit("r.csv", FAULT, "a"), "r.csv: 'tall' is not a number"),
        (Misfit("", FAULT), "'tall' is not a number"),
    ],
)
def test_a_misfit_names_its_place(misfit, sentence):
    assert str(misfit) == sentence
    with pytest.raises(DataError) as caught:
        Refusal().add(misfit)
    assert str(caught.value) == sentence


def test_a_refusal_takes_remarks():
    Refusal().remark("a column that is not read")


@given(st.lists(st.tuples(columns, kinds, st.integers(1, 10**6))))
def test_a_tally_counts_every_misfit_and_keeps_the_first_of_each_column_and_kind(found):
    tally = Tally()
    for column, kind, row in found:
        tally.add(Misfit.at("r", row, column, Fault(kind, "", f"value of {row}")))
    assert sum(misfit.count for misfit in tally.misfits) == len(found)
    for misfit in tally.misfits:
        rows = [row for column, kind, row in found if (column, kind) == (misfit.column, misfit.fault.kind)]
        assert (misfit.count, misfit.places) == (len(rows), tuple(rows[:SHOWN]))
        assert misfit.values == tuple(f"value of {row}" for row in rows[:SHOWN])


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=30), st.lists(st.integers(1, 10**6), min_size=1))
def test_misfits_told_together_count_like_those_told_one_by_one(first, second):
    together, alone = Tally(), Tally()
    for rows in (first, second):
        describe = [Fault(Kind.MISSING, "", str(row)) for row in rows].__getitem__
        together.add(Misfit.among("r", "a", np.array(rows), describe))
        for row in rows:
            alone.add(Misfit.at("r", row, "a", Fault(Kind.MISSING, "", str(row))))
    assert together.misfits == alone.misfits


@given(st.text())
def test_a_shown_value_is_short_and_harmless_to_a_terminal(text):
    assert shown(text * 100).isprintable()
    assert len(shown("x" * 1000)) < 70


def test_a_long_list_of_names_is_cut():
    assert listing(["a"] * 7) == "'a', 'a', 'a', 'a', 'a' and 2 more"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_back_as_it_was_written(value):
    assert number(f" {value!r} ") == value


@given(st.text())
def test_any_text_is_a_finite_number_or_a_fault(text):
    value = number(text)
    assert value.text if isinstance(value, Fault) else isfinite(value)


@given(st.text(), st.lists(st.text(min_size=1), min_size=1, unique=True))
def test_a_class_is_known_by_its_name_alone(text, classes):
    index = class_index(text, classes)
    if isinstance(index, Fault):
        assert text.strip() not in classes
    else:
        assert classes[index] == text.strip()


def test_a_label_is_a_class_or_a_number_by_the_study():
    assert cell("yes", "y", DataSection(features=("a",), label="y", classes=("no", "yes"))) == 1
    assert cell("7", "y", DataSection(features=("a",), label="y")) == 7
    assert cell("7", "a", DataSection(features=("a",), label="y", classes=("no", "yes"))) == 7


@given(st.lists(st.floats(allow_infinity=False), min_size=1))
def test_what_is_not_there_is_no_second_misfit(values):
    table = np.array(values)
    feature = Feature(name="a", range=(0, 1), categories=(0, 1))
    for bad in (outside(table, feature), uncategorised(table, feature), too_large(table)):
        assert not bad[np.isnan(table)].any()
    assert outside(table, feature).tolist() == [not (value != value or 0 <= value <= 1) for value in values]


def test_the_largest_32_bit_float_fits():
    largest = float(np.finfo(np.float32).max)
    assert too_large(np.array([largest, -largest, largest * 2, nan])).tolist() == [False, False, True, False]
