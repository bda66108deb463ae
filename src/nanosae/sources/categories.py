"""The role of a column, and the columns that are categories."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote
from typing import Literal

import pyarrow as pa

from nanosae.sources.kinds import is_text, pc

Role = Literal["text", "category", "date", "number", "tags", "id", "vectors", "unused"]

CATEGORY_VALUES = (2, 50)  # minimum and maximum number of distinct values of a category
CATEGORY_ROWS = 10  # minimum mean number of rows per value


@dataclass(frozen=True)
class Column:
    """The role of a column.

    Attributes:
        name: Name of the column.
        role: The role.
        reason: The reason for the role, in a few words.
    """

    name: str
    role: Role
    reason: str


def is_ticked(values: pa.Array | pa.ChunkedArray) -> bool:
    """Return whether a column has a single value or is empty, like the check boxes of a form.

    Example:
        >>> is_ticked(pa.array(["Phone", None] * 10)), is_ticked(pa.array(["Phone", None]))
        (True, False)
    """
    n_empty = values.null_count
    n_filled = len(values) - n_empty
    is_word = is_text(values.type) or pa.types.is_boolean(values.type)
    has_enough = min(n_empty, n_filled) >= CATEGORY_ROWS
    return is_word and has_enough and pc.count_distinct(values).as_py() == 1


def category(name: str, values: pa.Array | pa.ChunkedArray) -> Column:
    """Return the role of a column that is a category if it has few and frequent values."""
    n_distinct = pc.count_distinct(values).as_py()
    low, high = CATEGORY_VALUES
    if n_distinct < low:
        return Column(name, "unused", "all values are equal")
    is_frequent = len(values) >= CATEGORY_ROWS * n_distinct
    if not is_frequent:
        reason = f"its {n_distinct:,} distinct values are too rare to compare"
        return Column(name, "unused", reason)
    if n_distinct > high:
        return Column(name, "unused", too_many(name, f"{n_distinct:,} distinct values"))
    return Column(name, "category", f"{n_distinct} distinct values")


def too_many(name: str, how_many: str) -> str:
    """Return the reason why a column with many values is not compared by default."""
    _, high = CATEGORY_VALUES
    choice = f"by={name!r} (--by {quote(name)})"
    return f"{how_many}, more than {high}; use {choice} to compare them"
