"""Metadata columns as labels, numbers and times."""

import numpy as np

from nanosae.analysis.columns import label_matrix


def test_label_cells_hold_several_labels():
    names, matrix = label_matrix(np.array(["b|a", None, "a", "", "a|a"], dtype=object))
    assert names == ["a", "b"]
    assert matrix.toarray().tolist() == [[1, 1], [0, 0], [1, 0], [0, 0], [1, 0]]
