"""Metadata columns as labels, numbers and times."""

import numpy as np
import pytest

from nanosae.analysis.columns import as_times, is_missing, label_matrix
from nanosae.errors import DataError


def test_label_cells_hold_several_labels():
    names, matrix = label_matrix(np.array(["b|a", None, "a", "", "a|a"], dtype=object))
    assert names == ["a", "b"]
    assert matrix.toarray().tolist() == [[1, 1], [0, 0], [1, 0], [0, 0], [1, 0]]


def test_many_numbers_move_to_the_middles_of_36_periods():
    times, unit = as_times(np.arange(73.0), "week")
    width = 72 / 36
    expected = [min(t // width, 35) * width + width / 2 for t in range(73)]
    assert times.tolist() == expected
    assert unit == "unit of week"
    few, _ = as_times(np.arange(36.0), "week")
    assert few.tolist() == list(range(36))


@pytest.mark.parametrize(
    ("days", "first_kept"),
    [(30, "2024-01-02"), (400, "2024-01-01"), (3000, "2024-01-01")],
)
def test_dates_move_to_the_start_of_the_finest_of_day_month_and_year(days, first_kept):
    dates = np.datetime64("2024-01-02") + np.arange(days)
    times, unit = as_times(dates.astype("M8[ns]"), "date")
    start = (np.datetime64(first_kept) - np.datetime64("1970-01-01")).astype(int)
    assert times.min() == pytest.approx(1970 + start / 365.2425)
    assert len(set(times)) == {30: 30, 400: 14, 3000: 9}[days]
    assert unit == "year"


def test_what_is_neither_number_nor_date_is_named():
    with pytest.raises(
        DataError, match="column 'when' holds neither numbers nor dates"
    ) as caught:
        as_times(np.array(["yesterday"], object), "when")
    assert caught.value.column == "when"


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
