"""Metadata columns as labels and numbers."""

import numpy as np

from nanosae.analysis.columns import is_missing, label_matrix


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
