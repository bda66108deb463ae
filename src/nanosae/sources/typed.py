"""Columns as what their roles say: dates as times, numbers as numbers, tags as lists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
import pyarrow as pa

from nanosae.sources.dates import (
    are_counts,
    are_days,
    are_serial_days,
    parse_counts,
    parse_dates,
    parse_days,
    parse_serial_days,
)
from nanosae.sources.kinds import is_text, whole_numbers
from nanosae.sources.number_text import are_ratings, parse_numbers, parse_ratings
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
    if pa.types.is_temporal(values.type):
        return values
    if are_counts(values):
        return parse_counts(values)
    if is_text(values.type):
        return _naive(parse_dates(values.to_pandas()))
    whole = whole_numbers(values)
    if whole is None:
        return values
    if are_days(whole):
        return _naive(parse_days(whole))
    return _naive(parse_serial_days(whole)) if are_serial_days(whole) else whole


def _naive(times: pd.Series) -> pa.Array:
    """Return times in UTC without saying so."""
    return pa.array(times.dt.tz_localize(None), pa.timestamp("us"))


def _as_numbers(values: pa.ChunkedArray) -> Any:
    if not is_text(values.type):
        return values
    return parse_ratings(values) if are_ratings(values) else parse_numbers(values)


def _as_lists(values: pa.ChunkedArray) -> Any:
    return split_tags(values) if is_text(values.type) else values
