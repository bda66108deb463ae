"""Dates and times as text, as integers such as 20240131, or as counts since 1970."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
import pyarrow as pa
from pandas.tseries.api import guess_datetime_format

from nanosae.sources.kinds import bounds, is_text, pc, share, whole_numbers
from nanosae.sources.local_dates import plain_dates

PARSED_SHARE = 0.95  # minimum share of cells that are dates, or numbers
DATE_SHAPE = (
    r"^\D{0,12}(\d{4}[-/.]\d{1,2}[-/.T]\d|\d{1,2}[-/.]\d{1,2}[-/.]\d{2})"
    r"|^\d{4}[-/](0[1-9]|1[0-2])$|^(0?[1-9]|1[0-2])/(19|20)\d\d$"
    r"|\d{1,2}\W+[A-Za-z]{3}|^([A-Za-z]{3,9}\W+){1,2}\d"
    r"|^(19|20)\d\d$|^\d{8}T\d{4}"
)
WEEKDAY = r"^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,?\s+"
ZONE = r"\s[A-Z]{3,4}\s(\d{4})$"  # as in "Apr 06 22:19:45 PDT 2009"
# as in "10:19 PM GMT+2" and browsers' "22:19:45 GMT+0200 (CEST)", which pandas reads as −0200
FROM_GREENWICH = re.compile(
    r"(?:(?<=\d)|(?<=[AaPp][Mm]))\s*(?:GMT|UTC)\s?([+-]\d{1,2})(?::?(\d{2}))?(?:\s*\([^()]*\))?$"
)
OFFSET = r"\s([+-]\d{4})\s(\d{4})$"  # as in "Apr 06 22:19:45 +0200 2009"
DAY_AND_MONTH = r"^\s*(?P<first>\d{1,2})(?P<sign>[/.-])(?P<second>\d{1,2})[/.-]\d"
FIRST_YEAR, LAST_YEAR = 1800, 2100  # integers in between may be years
COUNT = r"^\s*\d{9,19}(\.\d+)?\s*$"  # since 1970, as text
MILLISECONDS = 10**11  # from here, counts since 1970 are in milliseconds
# limits of counts since 1970 from 1973 to 2128; milliseconds may be fewer
COUNTS = {
    "seconds": (10**8, MILLISECONDS),
    "milliseconds": (10**8, 5 * 10**12),
    "microseconds": (10**14, 5 * 10**15),
    "nanoseconds": (10**17, 5 * 10**18),
}
PER_MICROSECOND = {
    "seconds": 1e-6,
    "milliseconds": 1e-3,
    "microseconds": 1.0,
    "nanoseconds": 1e3,
}
SERIAL_DAYS = (20_000, 80_000)  # Excel's day numbers from 1954 to 2119
SERIAL_START = "1899-12-30"
CALENDAR_LIMITS = {
    "months": (1900_01, 2100_12),
    "days": (1900_01_01, 2100_12_31),
    "hours": (1900_01_01_00, 2100_12_31_23),
    "minutes": (1900_01_01_00_00, 2100_12_31_23_59),
    "seconds": (1900_01_01_00_00_00, 2100_12_31_23_59_59),
}
CALENDAR_FORMS = {
    "months": "%Y%m",
    "days": "%Y%m%d",
    "hours": "%Y%m%d%H",
    "minutes": "%Y%m%d%H%M",
    "seconds": "%Y%m%d%H%M%S",
}
CALENDAR_TEXT = r"^\s*\d{6,14}\s*$"
NO_YEAR = 1000  # pandas reads "Mar 21" as a day of the year 1


def share_of_dates(values: pa.Array | pa.ChunkedArray) -> float:
    """Return the share of strings that are dates, or 0 if fewer than 95 % look like dates."""
    if not _look_like_dates(values):
        values = plain_dates(values)
        if not _look_like_dates(values):
            return 0.0
    return float(parse_dates(values.to_pandas()).notna().mean())


def _look_like_dates(values: pa.Array | pa.ChunkedArray) -> bool:
    return share(pc.match_substring_regex(values, DATE_SHAPE)) >= PARSED_SHARE


def calendar_unit(values: pa.Array | pa.ChunkedArray) -> str | None:
    """Return "days" for integers such as 20240131, "months" for those such as 202401, or None.

    Times such as 202401310915 are "hours", "minutes" or "seconds".

    Example:
        >>> calendar_unit(pa.array([20240131])), calendar_unit(pa.array([202413]))
        ('days', None)
    """
    distinct = pc.unique(values).drop_null()
    for unit, limits in CALENDAR_LIMITS.items():
        if _are_within(values, limits) and parse_calendar(distinct, unit).notna().all():
            return unit
    return None


def calendar_integers(values: pa.Array | pa.ChunkedArray) -> Any:
    """Return numbers, or strings of as many digits as dates have, as int64; None of others."""
    if not is_text(values.type):
        return whole_numbers(values)
    are_digits = pc.all(pc.match_substring_regex(values, CALENDAR_TEXT)).as_py()
    return pc.utf8_trim_whitespace(values).cast(pa.int64()) if are_digits else None


def parse_calendar(values: pa.Array | pa.ChunkedArray, unit: str) -> pd.Series:
    """Read integers that are written like dates as times in UTC, with NaT for others."""
    digits = values.cast(pa.string()).to_pandas()
    form = CALENDAR_FORMS[unit]
    return pd.to_datetime(digits, format=form, errors="coerce", utc=True)


def _are_within(values: pa.Array | pa.ChunkedArray, limits: tuple[int, int]) -> bool:
    """Return whether there are values and all are within inclusive limits."""
    low, high = bounds(values)
    return low is not None and limits[0] <= low and high <= limits[1]


def are_serial_days(values: pa.Array | pa.ChunkedArray) -> bool:
    """Return whether all integers may be Excel's day numbers, such as 45292 for 2024-01-01."""
    return _are_within(values, SERIAL_DAYS)


def parse_serial_days(values: pa.Array | pa.ChunkedArray) -> pd.Series:
    """Read Excel's day numbers as days in UTC.

    Example:
        >>> parse_serial_days(pa.array([45292]))[0].date()
        datetime.date(2024, 1, 1)
    """
    days = pd.Series(values.to_pandas())
    return pd.to_datetime(days, unit="D", origin=SERIAL_START, utc=True)


def are_counts(values: pa.Array | pa.ChunkedArray) -> bool:
    """Return whether all numbers, also as text, may be counts since 1970."""
    return unit_of_counts(values) is not None


def unit_of_counts(values: pa.Array | pa.ChunkedArray) -> str | None:
    """Return the unit of counts since 1970, such as "seconds"; None if they are none."""
    numbers = _as_numbers(values)
    if numbers is None:
        return None
    units = (unit for unit, limits in COUNTS.items() if _are_within(numbers, limits))
    return next(units, None)


def parse_counts(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Read counts since 1970 as times in UTC, to the microsecond.

    Example:
        >>> parse_counts(pa.array(["1706778000.5"]))[0].as_py()
        datetime.datetime(2024, 2, 1, 9, 0, 0, 500000)
    """
    unit = unit_of_counts(values)
    assert unit is not None
    microseconds = pc.round(pc.divide(_as_numbers(values), PER_MICROSECOND[unit]))
    return microseconds.cast(pa.int64()).cast(pa.timestamp("us"))


def _as_numbers(values: pa.Array | pa.ChunkedArray) -> Any:
    """Return numbers as float64, or None if a text is not a count."""
    if is_text(values.type):
        are_digits = pc.all(pc.match_substring_regex(values, COUNT)).as_py()
        if not are_digits:
            return None
        values = pc.utf8_trim_whitespace(values)
    return values.cast(pa.float64(), safe=False)


def parse_dates(values: pd.Series) -> pd.Series:
    """Read strings as dates in UTC: as ISO 8601, otherwise in common formats.

    The day comes before the month if the first number of some value exceeds 12, or if they are
    separated by dots and no second number does. Other strings become NaT.
    """
    parsed = pd.to_datetime(values, errors="coerce", utc=True, format="ISO8601")
    if parsed.notna().mean() >= PARSED_SHARE:
        return parsed
    values = values.str.replace(FROM_GREENWICH, _plain_offset, regex=True)
    as_strings = pa.array(values, pa.string(), from_pandas=True)
    values = plain_dates(as_strings).to_pandas().set_axis(values.index)
    values = values.str.replace(WEEKDAY, "", regex=True)
    values = values.str.replace(ZONE, r" \1", regex=True)
    values = values.str.replace(OFFSET, r" \2 \1", regex=True)
    day_first = _has_day_first(values)
    parsed = _in_one_format(values, day_first)
    if parsed is not None:
        return parsed
    parsed = pd.to_datetime(
        values, errors="coerce", utc=True, dayfirst=day_first, format="mixed"
    )
    return parsed.where(parsed.dt.year >= NO_YEAR)


def _plain_offset(offset: re.Match[str]) -> str:
    hours, minutes = offset.groups()
    return f" {int(hours):+03}:{minutes or '00'}"


def _has_day_first(values: pd.Series) -> bool:
    """Return whether the day comes before the month in dates of three numbers."""
    parts = values.astype(str).str.extract(DAY_AND_MONTH)
    first, second = (parts[name].astype(float) for name in ("first", "second"))
    if first.max() > 12 or second.max() > 12:
        return bool(first.max() > 12)
    return bool((parts["sign"] == ".").any())


def _in_one_format(values: pd.Series, day_first: bool) -> pd.Series | None:
    """Read dates in the format of the first one, which is fast, or None if not all have it.

    Years of two digits are left to the other way, which takes those near the present.
    """
    strings = values.dropna()
    if strings.empty:
        return None
    form = guess_datetime_format(str(strings.iloc[0]), dayfirst=day_first)
    if form is None or "%Y" not in form:
        return None
    parsed = pd.to_datetime(values, errors="coerce", utc=True, format=form)
    return parsed if parsed.notna().sum() == len(strings) else None
