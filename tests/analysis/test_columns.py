"""Metadata columns as labels and numbers."""

import numpy as np
import pandas as pd
import pytest

from nanosae.analysis.columns import as_numbers, is_missing, label_matrix


def test_label_cells_hold_several_labels():
    names, matrix = label_matrix(np.array(["b|a", None, "a", "", "a|a"], dtype=object))
    assert names == ["a", "b"]
    assert matrix.toarray().tolist() == [[1, 1], [0, 0], [1, 0], [0, 0], [1, 0]]


def test_lists_of_labels_are_labels():
    values = np.empty(4, dtype=object)
    values[:] = [["a", "b"], [], ["b", None], np.array(["a"], dtype=object)]
    names, matrix = label_matrix(values)
    assert names == ["a", "b"]
    assert matrix.toarray().tolist() == [[1, 1], [0, 0], [0, 1], [1, 0]]
    assert is_missing(values).tolist() == [False, True, False, False]


def test_infinite_numbers_are_missing():
    assert is_missing(np.array([1.0, np.inf, -np.inf, np.nan])).tolist() == [
        False,
        True,
        True,
        True,
    ]


@pytest.mark.parametrize("dtype", ["string", "Int64", "boolean", "category"])
def test_cells_that_pandas_calls_missing_are_empty(dtype):
    given = pd.Series([1, None, 0, 1], dtype="Int64").astype(dtype)
    cells = np.asarray(given, dtype=object)
    assert is_missing(cells).tolist() == [False, True, False, False]
    names, matrix = label_matrix(cells)
    assert len(names) == 2
    assert matrix.toarray().sum(axis=1).tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize("unit", ["D", "s", "us", "ns"])
def test_dates_are_labels_as_they_are_written_whatever_their_unit(unit):
    dates = np.array(["2024-05-31", "NaT", "2024-06-01"], f"M8[{unit}]")
    assert is_missing(dates).tolist() == [False, True, False]
    names, matrix = label_matrix(dates)
    assert names == ["2024-05-31 00:00:00", "2024-06-01 00:00:00"]
    assert matrix.toarray().tolist() == [[1, 0], [0, 0], [0, 1]]


def test_numbers_in_words_that_are_not_finite_are_empty():
    cells = np.array(["1", "nan", "inf", None, "-2.5"], object)
    assert as_numbers(cells).tolist() == pytest.approx(
        [1, np.nan, np.nan, np.nan, -2.5], nan_ok=True
    )
