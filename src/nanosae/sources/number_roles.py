"""The roles of columns of numbers: numbers, years, days, times since 1970, or identifiers."""

from __future__ import annotations

from shlex import quote

import pyarrow as pa

from nanosae.sources.categories import CATEGORY_ROWS, Column, category
from nanosae.sources.column_names import (
    BIRTH_NAMES,
    DAY_NAMES,
    ID_NAMES,
    INDEX_NAMES,
    PLACE_NAMES,
    TIME_NAMES,
    YEAR_NAMES,
    words_of,
)
from nanosae.sources.dates import (
    FIRST_YEAR,
    LAST_YEAR,
    are_counts,
    are_serial_days,
    calendar_unit,
    unit_of_counts,
)
from nanosae.sources.kinds import bounds, pc, whole_numbers

FIRST_NAMED_YEAR = 1000  # of columns that are called "year"
CONSECUTIVE = 2  # row numbers skip at most every second number


def integer_role(name: str, values: pa.Array | pa.ChunkedArray) -> Column:
    """Return the role of a column of integers."""
    if INDEX_NAMES.search(words_of(name)):
        return Column(name, "id", "labels of the rows")
    n_distinct = pc.count_distinct(values).as_py()
    found = _years_or_days(name, values, n_distinct)
    if found is not None:
        return found
    if ID_NAMES.search(words_of(name)):
        return Column(name, "id", "named like an identifier")
    if n_distinct == len(values) and len(values) > CATEGORY_ROWS:
        return Column(name, "id", "unique in every row")
    if n_distinct == 1:
        return Column(name, "unused", "all values are equal")
    if n_distinct == 2:
        return category(name, values)
    return Column(name, "number", "holds numbers")


def _years_or_days(
    name: str, values: pa.Array | pa.ChunkedArray, n_distinct: int
) -> Column | None:
    """Return the role of integers that are years, months, days or times."""
    low, high = bounds(values)
    is_named = YEAR_NAMES.search(words_of(name)) is not None
    first_year = FIRST_NAMED_YEAR if is_named else FIRST_YEAR
    are_years = low >= first_year and high <= LAST_YEAR
    if are_years and BIRTH_NAMES.search(words_of(name)):
        return Column(name, "number", "years of birth")
    if are_years and (is_named or n_distinct > 2):
        return Column(name, "date", f"years from {low} to {high}")
    unit = calendar_unit(values)
    if n_distinct > 2 and unit is not None:
        return Column(name, "date", f"{unit} written like {low}")
    if are_times(name, values):
        return times_role(name, values)
    if n_distinct > 2 and DAY_NAMES.search(words_of(name)) and are_serial_days(values):
        return Column(name, "date", f"Excel day numbers, from {low}")
    return None


def are_times(name: str, values: pa.Array | pa.ChunkedArray) -> bool:
    """Return whether a column is named like a time and counts since 1970."""
    return TIME_NAMES.search(words_of(name)) is not None and are_counts(values)


def times_role(name: str, values: pa.Array | pa.ChunkedArray) -> Column:
    """Return the role of a column for which `are_times` holds."""
    reason = f"{unit_of_counts(values)} since 1970"
    return Column(name, "date", reason)


def fraction_role(name: str, values: pa.Array | pa.ChunkedArray) -> Column:
    """Return the role of a column of floats or decimals."""
    whole = whole_numbers(values)
    if whole is not None:  # an empty cell turns integers into floats
        column = integer_role(name, whole)
        is_id = ID_NAMES.search(words_of(name)) or _are_consecutive(whole)
        if column.role != "id" or is_id:
            return column
    if are_times(name, values):
        return times_role(name, values)
    if ID_NAMES.search(words_of(name)):
        return Column(name, "id", "named like an identifier")
    if PLACE_NAMES.search(words_of(name)):
        reason = (
            f"a coordinate; use target={name!r} (--target {quote(name)}) to explain it"
        )
        return Column(name, "unused", reason)
    if pc.count_distinct(values).as_py() == 1:
        return Column(name, "unused", "all values are equal")
    return Column(name, "number", "holds numbers")


def _are_consecutive(values: pa.Array | pa.ChunkedArray) -> bool:
    """Return whether distinct integers are close to each other, like row numbers."""
    low, high = bounds(values)
    return high - low < CONSECUTIVE * len(values)
