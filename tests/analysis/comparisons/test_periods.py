"""Periods of the calendar, and cells that belong to no period."""

import numpy as np
import pandas as pd
import pytest

from nanosae.analysis.comparisons.periods import outliers, periods
from nanosae.errors import DataError


def test_many_numbers_move_to_the_middles_of_36_periods():
    numbers = np.arange(73) / 4
    found = periods(numbers, "hours")
    width = 0.5
    period = np.minimum(np.arange(73) // 2, 35)
    assert found.start == pytest.approx(period * width + width / 2)
    assert found.start.tolist() == found.time.tolist()
    assert found.unit == "unit of hours"
    assert next(iter(found.names.values())) == "0–0.5"


def test_periods_of_whole_numbers_end_before_the_next_begins():
    found = periods(np.arange(73.0) + 1790, "year")
    assert found.start.tolist() == [1790 + min(t // 3, 23) * 3 + 1 for t in range(73)]
    assert found.names[1791.0] == "1790–1792"
    assert found.names[1860.0] == "1859–1862"  # no period of 1862 alone
    longer = periods(np.arange(74.0) + 1790, "year")
    assert longer.names[1863.0] == "1862–1863"
    below = periods(np.arange(73.0) - 60, "week")
    assert below.names[-59.0] == "-60 to -58"
    few = periods(np.arange(36.0), "week")
    assert few.time.tolist() == list(range(36))
    assert few.names[35.0] == "35"


@pytest.mark.parametrize(
    ("days", "unit", "n_periods", "first", "last"),
    [
        (5, "day", 5, "2 January 2024", "6 January 2024"),
        (49, "week", 8, "the week of 1 January 2024", "the week of 19 February 2024"),
        (212, "month", 7, "January 2024", "July 2024"),
        (700, "quarter", 8, "Q1 2024", "Q4 2025"),
        (3000, "year", 9, "2024", "2032"),
        (365 * 100, "year", 34, "2022–2024", "2121–2123"),
    ],
)
def test_dates_become_the_longest_unit_of_the_calendar_with_six_periods(
    days, unit, n_periods, first, last
):
    dates = np.datetime64("2024-01-02") + np.arange(days)
    found = periods(dates.astype("M8[s]"), "date")
    names = list(found.names.values())
    assert (found.unit, len(names), names[0], names[-1]) == (
        unit,
        n_periods,
        first,
        last,
    )
    as_text = periods(dates.astype(str).astype(object), "date")
    assert as_text.start.tolist() == found.start.tolist()


def test_times_count_units_and_starts_count_years():
    found = periods(np.array([f"2024-{m:02d}-20" for m in range(1, 13)], object), "d")
    first_days = pd.to_datetime([f"2024-{m:02d}-01" for m in range(1, 13)])
    days = (first_days - pd.Timestamp("1970-01-01")).days.to_numpy()
    assert found.start == pytest.approx(1970 + days / 365.2425)
    assert np.ptp(found.time) == pytest.approx(11, abs=0.1)  # months
    assert set(found.names) == set(found.start)


@pytest.mark.parametrize("cell", ["9999-12-31", "0001-01-01", "1677-01-01"])
def test_a_date_far_from_all_others_is_set_aside_and_named(cell):
    dates = pd.date_range("2019-01-01", periods=300, freq="7D").strftime("%Y-%m-%d")
    found = periods(np.array([cell, *dates[1:]], dtype=object), "closed")
    assert found.kept.tolist() == [False] + [True] * 299
    (note,) = found.notes
    assert note == f"1 row was set aside: closed is far from all other values ({cell})."


def test_milliseconds_among_seconds_are_set_aside_and_seconds_are_dates():
    seconds = 1.6e9 + 86400.0 * np.arange(200)
    mixed = np.where(np.arange(200) % 4 == 1, 1000 * seconds, seconds)
    found = periods(mixed, "t")
    assert found.kept.tolist() == (np.arange(200) % 4 != 1).tolist()
    assert "50 rows were set aside" in found.notes[0]
    assert found.unit == "month"
    assert next(iter(found.names.values())) == "September 2020"
    units = ("seconds", "milliseconds", "microseconds", "nanoseconds")
    for power, unit in enumerate(units):
        counted = periods(1000**power * seconds, "t")
        assert counted.kept.all()
        assert counted.names == periods(seconds, "t").names
        assert counted.notes == [f"The numbers in t are read as {unit} since 1970."]
    assert periods(1000**4 * seconds.astype(float), "t").unit == "unit of t"  # twin


def test_infinite_and_empty_cells_have_no_period():
    values = np.array([np.inf, np.nan, *range(2000, 2020)])
    found = periods(values, "year")
    assert found.kept.tolist() == [False, False] + [True] * 20
    assert found.notes == ["1 row was set aside: year is infinite there."]
    with pytest.raises(DataError, match="column 'year' is empty"):
        periods(np.array([np.nan, np.inf]), "year")


def test_old_rows_of_a_growing_collection_are_no_outliers():
    rng = np.random.default_rng(0)
    for years in (
        np.r_[1995, 1999, 2004, rng.integers(2015, 2025, 500)],
        np.r_[[2019.0] * 60, [2024.0] * 40],
        np.r_[[0.0] * 50, [1.0] * 2],
        np.arange(1.0, 1001),
        rng.exponential(size=1000),
    ):
        assert not outliers(years.astype(float), is_number=True).any()


def test_rows_in_one_period_are_said_to_be():
    found = periods(np.array(["2024-05-05"] * 9, object), "date")
    assert found.notes == ["All rows lie in one period, 5 May 2024."]


def test_what_is_neither_number_nor_date_is_named():
    with pytest.raises(
        DataError, match="column 'when' holds neither numbers nor dates"
    ) as caught:
        periods(np.array(["yesterday"], object), "when")
    assert caught.value.column == "when"


def cut_by_search(times, share, factor):
    """Try every gap in turn, as the docstring of `outliers` says it."""
    different = sorted(set(times.tolist()))
    for place in range(3, len(different)):
        beyond = times >= different[place]
        gap = different[place] - different[place - 1]
        span = different[place - 1] - different[0]
        if beyond.sum() <= share * len(times) and gap > factor * span:
            return beyond
    return np.zeros(len(times), bool)


def test_gaps_are_those_that_a_search_finds():
    rng = np.random.default_rng(0)
    n_cut = 0
    for _ in range(300):
        times = rng.choice(np.exp(rng.normal(scale=3, size=12)), 60)
        expected = cut_by_search(times, 0.05, 10) | cut_by_search(-times, 0.05, 10)
        assert outliers(times, is_number=False).tolist() == expected.tolist()
        n_cut += expected.any()
    assert 10 < n_cut < 290


@pytest.mark.parametrize(("n_other", "are_outliers"), [(9, True), (10, False)])
def test_times_in_another_unit_are_outliers_if_they_are_fewer(n_other, are_outliers):
    seconds = 1.6e9 + np.arange(20 - n_other) * 86400.0
    milliseconds = 1.6e12 + np.arange(n_other) * 86400e3
    found = outliers(np.concatenate([seconds, milliseconds]), is_number=True)
    expected = np.zeros(20, bool)
    if are_outliers:
        expected[-n_other:] = True
    assert found.tolist() == expected.tolist()


def test_a_second_for_every_row_is_looked_through_once():
    # a quadratic search takes a quarter of an hour
    seconds = 1.6e9 + np.arange(400_000.0)
    seconds[-1] = 253402214400  # 9999-12-31
    assert np.flatnonzero(outliers(seconds, is_number=True)).tolist() == [399_999]


def test_what_is_no_date_is_refused_in_one_line():
    for cells in (["2024-01-01", "soon"], ["9999-12-31", "soon"]):
        with pytest.raises(DataError, match="nor dates") as caught:
            periods(np.array(cells, object), "when")
        assert "\n" not in str(caught.value)
        assert "format=" not in str(caught.value)
        assert str(caught.value).endswith("Write dates as in 2024-05-31.")


@pytest.mark.parametrize("code", ["D", "W", "M", "Q", "Y"])
def test_a_period_of_pandas_is_its_start(code):
    days = pd.Series(pd.date_range("2020-01-15", periods=40, freq="37D"))
    cells = days.dt.to_period(code)
    starts = cells.dt.start_time.to_numpy()
    found = periods(np.asarray(cells, dtype=object), "month")
    expected = periods(starts, "month")
    assert found.start.tolist() == expected.start.tolist()
    assert found.names == expected.names
