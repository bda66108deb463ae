"""Columns as what their roles say: dates as times, numbers as numbers, tags as lists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from nanosae.sources.dates import (
    LAST_YEAR,
    MILLISECONDS,
    are_days,
    parse_dates,
    parse_days,
)
from nanosae.sources.kinds import is_text, pc
from nanosae.sources.number_text import parse_numbers
from nanosae.sources.roles import Column
from nanosae.sources.tags import split_tags


def with_types(table: pa.Table, columns: Iterable[Column]) -> pa.Table:
    """Convert columns that hold dates, numbers or tags as text; the others stay as they are.

    Args:
        table: Texts and metadata.
        columns: Roles of its columns.

    Example:
        >>> table = pa.table({"day": ["31.12.2023"], "price": ["1,5"], "tags": ["a|b"]})
        >>> roles = [Column(name, role, "") for name, role in
        ...          (("day", "date"), ("price", "number"), ("tags", "tags"))]
        >>> with_types(table, roles).to_pylist()[0]["tags"]
        ['a', 'b']
    """
    convert = {"date": _as_dates, "number": _as_numbers, "tags": _as_lists}
    for column in columns:
        place = table.column_names.index(column.name)
        values = table.column(place)
        if column.role in convert:
            converted = convert[column.role](values)
            table = table.set_column(place, column.name, converted)
    return table


def _as_dates(values: pa.ChunkedArray) -> Any:
    """Return text, days and counts since 1970 as times in UTC; years and times as they are."""
    if is_text(values.type):
        dates = parse_dates(values.to_pandas())
        return pa.array(dates.dt.tz_localize(None), pa.timestamp("us"))
    if not pa.types.is_integer(values.type):
        return values
    latest = pc.max(values).as_py()
    if latest <= LAST_YEAR:
        return values
    if are_days(values):
        days = parse_days(values)
        return pa.array(days.dt.tz_localize(None), pa.timestamp("us"))
    unit = "ms" if latest >= MILLISECONDS else "s"
    return values.cast(pa.int64()).cast(pa.timestamp(unit))


def _as_numbers(values: pa.ChunkedArray) -> Any:
    return parse_numbers(values) if is_text(values.type) else values


def _as_lists(values: pa.ChunkedArray) -> Any:
    return split_tags(values) if is_text(values.type) else values
