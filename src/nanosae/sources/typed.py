"""Convert columns according to their roles: dates to times, text to numbers, tags to lists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
import pyarrow as pa

from nanosae.sources.categories import Column, is_ticked
from nanosae.sources.dates import (
    are_counts,
    are_serial_days,
    calendar_integers,
    calendar_unit,
    parse_calendar,
    parse_counts,
    parse_dates,
    parse_serial_days,
)
from nanosae.sources.kinds import is_number, is_text, pc, without_dictionary
from nanosae.sources.number_text import read_numbers
from nanosae.sources.tags import split_tags

NOT_TICKED = "(empty)"  # the value of an unticked check box


def with_types(table: pa.Table, columns: Iterable[Column]) -> pa.Table:
    """Convert columns with dates, numbers, tags or check boxes as text; keep the others.

    Args:
        table: Texts and metadata.
        columns: Roles of the columns.

    Example:
        >>> table = pa.table({"day": ["31.12.2023"], "price": ["1,5"], "tags": ["a|b"]})
        >>> roles = [Column(name, role, "") for name, role in
        ...          (("day", "date"), ("price", "number"), ("tags", "tags"))]
        >>> with_types(table, roles).to_pylist()[0]["tags"]
        ['a', 'b']
    """
    convert = {
        "date": _as_dates,
        "number": _as_numbers,
        "tags": _as_lists,
        "category": _as_classes,
    }
    for column in columns:
        place = table.column_names.index(column.name)
        values = table.column(place)
        if column.role in convert:
            if column.role != "category":
                values = without_dictionary(values)
            converted = convert[column.role](values)
            table = table.set_column(place, column.name, converted)
    return table


def _as_dates(values: pa.ChunkedArray) -> Any:
    """Convert text, days and counts since 1970 to times in UTC; keep years and times."""
    may_be_dates = is_text(values.type) or is_number(values.type)
    if pa.types.is_temporal(values.type) or not may_be_dates:
        return values
    whole = calendar_integers(values)
    unit = None if whole is None else calendar_unit(whole)
    if unit is not None:
        return _naive(parse_calendar(whole, unit))
    if are_counts(values):
        return parse_counts(values)
    if is_text(values.type):
        return _naive(parse_dates(values.to_pandas()))
    if whole is None:
        return values
    return _naive(parse_serial_days(whole)) if are_serial_days(whole) else whole


def _naive(times: pd.Series) -> pa.Array:
    """Return times in UTC without a time zone."""
    microseconds = times.dt.tz_localize(None).dt.as_unit("us")  # drops nanoseconds
    return pa.array(microseconds, pa.timestamp("us"))


def _as_numbers(values: pa.ChunkedArray) -> Any:
    return read_numbers(values) if is_text(values.type) else values


def _as_classes(values: pa.ChunkedArray) -> Any:
    """Give unticked boxes a value, so that they are compared with ticked ones."""
    if not is_ticked(values):
        return values
    return pc.fill_null(values.cast(pa.string()), NOT_TICKED)


def _as_lists(values: pa.ChunkedArray) -> Any:
    return split_tags(values) if is_text(values.type) else values
