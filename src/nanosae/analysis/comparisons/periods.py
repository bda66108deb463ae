"""Group the dates or numbers of a column into periods, and set outliers aside.

Dates become days, weeks, months, quarters or years: the longest unit with at least six periods. Up
to 36 distinct numbers stay as they are; counts since 1970, of seconds to nanoseconds, are read as
dates.
Cells far from all others are set aside and counted, such as 9999-12-31 for "no end" or
milliseconds among seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nanosae.analysis.columns import as_moments, as_numbers, count_infinite, is_missing
from nanosae.errors import DataError

MAX_PERIODS = 36
MIN_PERIODS = 6  # for a calendar unit to be chosen
DAYS_PER_YEAR = 365.2425
UNITS_PER_YEAR = {
    "year": 1,
    "quarter": 4,
    "month": 12,
    "week": DAYS_PER_YEAR / 7,
    "day": DAYS_PER_YEAR,
}
# codes of pandas, the longest unit first
CODES = {"year": "Y", "quarter": "Q", "month": "M", "week": "W", "day": "D"}
SECONDS = (9.4e8, 2.1e9)  # since 1970: from 1999 to 2036
PER_SECOND = {
    "seconds": 1,
    "milliseconds": 10**3,
    "microseconds": 10**6,
    "nanoseconds": 10**9,
}
MAX_OUTLIER_SHARE = 0.05  # of the rows, at each end
FAR = 10  # outliers are beyond a gap this many times the span of all other times
OTHER_SCALE = 100  # ratio of neighbouring numbers that cannot be in the same unit
MIN_DISTINCT = 3  # distinct times that must remain


@dataclass(frozen=True, eq=False)
class Periods:
    """The period of each row.

    Attributes:
        kept: Rows that have a period, bool (n,); the others are empty or set aside.
        start: Position of the row's period on the time axis, (n,): for dates its start in years,
            for numbers the number itself or the middle of its period; 0 if the row has none.
        unit: "year", "quarter", "month", "week" or "day"; "unit of COLUMN" for numbers.
        names: Name of the period at each position, such as "March 2024".
        notes: What was set aside, and why.
    """

    kept: np.ndarray
    start: np.ndarray
    unit: str
    names: dict[float, str]
    notes: list[str]

    @property
    def time(self) -> np.ndarray:
        """Start of each row's period in multiples of `unit`, (n,)."""
        return self.start * UNITS_PER_YEAR.get(self.unit, 1)


def periods(values: np.ndarray, column: str) -> Periods:
    """Group numbers or dates into periods.

    Args:
        values: Numbers, datetimes or ISO 8601 strings, (n,).
        column: Name of the column, for messages.

    Raises:
        DataError: If the cells are neither numbers nor dates, or are all empty.

    Example:
        >>> found = periods(np.array(["2024-01-05", "2024-03-31", "2024-08-01"], object), "date")
        >>> found.unit, list(found.names.values())
        ('day', ['5 January 2024', '31 March 2024', '1 August 2024'])
    """
    known_rows = np.flatnonzero(~is_missing(values))
    notes = _infinite_note(values, column)
    if not len(known_rows):
        raise DataError(f"column {column!r} is empty: it has no times.", column=column)
    cells = values[known_rows]
    times = _numbers_or_dates(cells, column)
    is_outlier = outliers(times.astype(np.float64), is_number=not _is_date(times))
    if is_outlier.any():
        notes.append(_outlier_note(cells[is_outlier], column))
    times = times[~is_outlier]
    counted = None if _is_date(times) else _unit_since_1970(times)
    if counted is not None:
        seconds = np.floor(times / PER_SECOND[counted]).astype(np.int64)
        times = seconds.astype("M8[s]")
        notes.append(f"The numbers in {column} are read as {counted} since 1970.")

    kept_rows = known_rows[~is_outlier]
    kept = np.zeros(len(values), dtype=bool)
    kept[kept_rows] = True
    start = np.zeros(len(values))
    if _is_date(times):
        start[kept], unit, names = _calendar(times)
    else:
        start[kept], names = _numbers(times)
        unit = f"unit of {column}"
    if len(names) == 1:
        (only,) = names.values()
        notes.append(f"All rows lie in one period, {only}.")
    return Periods(kept, start, unit, names, notes)


def _is_date(values: np.ndarray) -> bool:
    return values.dtype.kind == "M"


def _numbers_or_dates(cells: np.ndarray, column: str) -> np.ndarray:
    """Read cells as numbers, float64 (n,), or else as dates, M8[s] (n,).

    Raises:
        DataError: If a cell is neither.
    """
    numbers = None if _is_date(cells) else as_numbers(cells)
    if numbers is not None:
        return numbers
    moments = as_moments(cells)
    unread = cells[np.isnat(moments)]
    if len(unread):
        raise DataError(
            f"column {column!r} holds neither numbers nor dates: {str(unread[0])!r:.60}.",
            column=column,
            remedy="Write dates as in 2024-05-31.",
        )
    return moments


def outliers(times: np.ndarray, *, is_number: bool) -> np.ndarray:
    """Return which times are so far from all others that they are outliers, bool (n,).

    Times are outliers if the gap that separates them from the others is more than 10 times the
    others' span, and they are at most 5 % at that end. Among numbers, a minority whose values
    differ from all others by a factor of more than 100 are outliers too: they are in another unit.

    Example:
        >>> outliers(np.array([2001.0, 2002, 2003, 2004] * 10 + [9999.0]), is_number=True).sum()
        np.int64(1)
    """
    is_outlier = np.zeros(len(times), dtype=bool)
    for sign in (1, -1):
        is_outlier |= _beyond_gap(sign * times)
    if is_number and times.min(initial=1) > 0:
        logs = np.log(times)
        for sign in (1, -1):
            is_outlier |= _beyond_gap(sign * logs, jump=np.log(OTHER_SCALE))
    return is_outlier


def _beyond_gap(values: np.ndarray, jump: float | None = None) -> np.ndarray:
    """Return which values lie above the first gap that is wide enough, bool (n,).

    With a jump: the gap exceeds it, and less than half of the values are above. Without: the gap
    exceeds FAR times the span of all values below, and at most MAX_OUTLIER_SHARE are above.
    """
    distinct, n_equal = np.unique(values, return_counts=True)
    before, after = distinct[:-1], distinct[1:]
    n_beyond = len(values) - np.cumsum(n_equal)[:-1]
    gap = after - before
    if jump is None:
        span = before - distinct[:1]
        is_few = n_beyond <= MAX_OUTLIER_SHARE * len(values)
        is_cut = is_few & (gap > FAR * span)
    else:
        is_minority = 2 * n_beyond < len(values)
        is_cut = is_minority & (gap > jump)
    leaves_enough = np.arange(len(gap)) >= MIN_DISTINCT - 1
    places = np.flatnonzero(is_cut & leaves_enough)
    if not len(places):
        return np.zeros(len(values), dtype=bool)
    return values >= after[places[0]]


def _infinite_note(values: np.ndarray, column: str) -> list[str]:
    n_infinite = count_infinite(values)
    if not n_infinite:
        return []
    return [f"{_rows_were(n_infinite)} set aside: {column} is infinite there."]


def _outlier_note(cells: np.ndarray, column: str) -> str:
    first_cells = [str(cell) for cell in cells[:100].tolist()]
    distinct = dict.fromkeys(first_cells)
    examples = ", ".join(distinct)
    if len(examples) > 60:
        examples = f"{examples[:60]}…"
    rows_were = _rows_were(len(cells))
    return f"{rows_were} set aside: {column} is far from all other values ({examples})."


def _rows_were(n: int) -> str:
    return "1 row was" if n == 1 else f"{n:,} rows were"


def _unit_since_1970(times: np.ndarray) -> str | None:
    """Return the unit of numbers that must be counts since 1970, or None."""
    if not len(times):
        return None
    earliest, latest = SECONDS
    for unit, per_second in PER_SECOND.items():
        seconds = times / per_second
        if seconds.min() >= earliest and seconds.max() <= latest:
            return unit
    return None


def _calendar(dates: np.ndarray) -> tuple[np.ndarray, str, dict[float, str]]:
    """Move dates to the start of their period; if there are too many years, several form a period.

    Returns:
        Starts in years, the unit, and the name of the period at each start.
    """
    moments = pd.Series(dates)
    unit = _unit(moments)
    pandas_periods = moments.dt.to_period(CODES[unit])
    n_years = 1
    if unit == "year":
        years = pandas_periods.dt.year.to_numpy()
        n_years_in_all = np.ptp(years) + 1
        n_years = int(-(-n_years_in_all // MAX_PERIODS))  # rounded up
        first_years = years // n_years * n_years
        starts = (first_years - 1970).astype("M8[Y]").astype("M8[D]")
    else:
        starts = pandas_periods.dt.start_time.to_numpy().astype("M8[D]")
    days = starts.astype(np.float64)
    positions = 1970 + days / DAYS_PER_YEAR
    distinct, first_rows = np.unique(positions, return_index=True)
    names = {}
    for position, row in zip(distinct.tolist(), first_rows, strict=True):
        first_day = starts[row]
        names[position] = _name(first_day, unit, n_years)
    return positions, unit, names


def _unit(moments: pd.Series) -> str:
    """Return the longest unit with at least six periods, or else "day"."""
    for unit, code in CODES.items():
        if moments.dt.to_period(code).nunique() >= MIN_PERIODS:
            return unit
    return "day"


def _name(start: np.datetime64, unit: str, n_years: int) -> str:
    """Name the period that starts on a day, in English whatever the locale."""
    date = pd.Timestamp(start)
    year = date.year
    if unit == "year" and n_years > 1:
        last_year = year + n_years - 1
        return f"{year}–{last_year}"
    if unit == "year":
        return str(year)
    if unit == "quarter":
        return f"Q{date.quarter} {year}"
    month = f"{date.month_name()} {year}"
    if unit == "month":
        return month
    day = f"{date.day} {month}"
    return day if unit == "day" else f"the week of {day}"


def _numbers(times: np.ndarray) -> tuple[np.ndarray, dict[float, str]]:
    """Keep few distinct numbers; bin many into periods of equal length, placed at their middles.

    Periods of whole numbers, such as years, have a whole length and end before the next begins.
    """
    distinct = np.unique(times)
    if len(distinct) <= MAX_PERIODS:
        return times, {float(time): f"{time:.10g}" for time in distinct}
    first, last = times.min(), times.max()
    are_whole = bool((distinct == np.floor(distinct)).all())
    step = 1 if are_whole else 0  # from the end of a period to the next
    length = last + step - first
    width = length / MAX_PERIODS
    if are_whole:
        width = np.ceil(width)
    n_periods = round(length / width)  # a rest of less than half belongs to the last
    period = np.minimum((times - first) // width, n_periods - 1)
    middles = first + width * (period + 0.5) - step / 2
    names = {}
    for number in np.unique(period):
        start = first + width * number
        stop = last if number == n_periods - 1 else start + width - step
        middle = float(first + width * (number + 0.5) - step / 2)
        names[middle] = _range_words(start, min(stop, last), are_whole)
    return middles, names


def _range_words(start: float, stop: float, are_whole: bool) -> str:
    """Name a range of numbers; a negative one with "to", because of its sign."""
    form = ".0f" if are_whole else ".4g"
    if start == stop:
        return f"{start:{form}}"
    between = "–" if start >= 0 else " to "
    return f"{start:{form}}{between}{stop:{form}}"
