"""Columns whose values belong to a document or an author with several rows."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

import pandas as pd
import pyarrow as pa

from nanosae.sources.categories import Column
from nanosae.sources.kinds import is_list, pc, without_dictionary

COMPARED = ("category", "date", "number")
MIN_SHARED = 2  # rows per identifier on average
MAX_NAMES = 3  # columns that are listed by name


def note_on_sources(columns: Sequence[Column], table: pa.Table) -> list[str]:
    """Return a note if compared columns have one value for all rows of an identifier.

    Differences in such a column are differences between documents or authors, of which there are
    fewer than rows.

    Example:
        >>> table = pa.table({"author_id": [1, 1, 1, 2, 2, 2], "age": [30, 30, 30, 50, 50, 50]})
        >>> note_on_sources([Column("author_id", "id", ""), Column("age", "number", "")], table)[0]
        'age is the same in all rows of an author_id. Comparisons count each row; contrast \
--groups author_id counts each author_id once.'
    """
    names = set(table.column_names)
    compared = [one.name for one in columns if one.role in COMPARED]
    for column in columns:
        if column.role != "id" or column.name not in names:
            continue
        group = _codes(table[column.name])
        n_groups = group.max() + 1
        if n_groups < 2 or len(group) < MIN_SHARED * n_groups:
            continue
        shared = [
            name
            for name in compared
            if name in names and _is_shared(table[name], group)
        ]
        if shared:
            return [_note(column.name, shared)]
    return []


def _codes(values: pa.ChunkedArray) -> pd.Series:
    numbers, _ = pd.factorize(without_dictionary(values).to_pandas())
    return pd.Series(numbers)


def _is_shared(values: pa.ChunkedArray, group: pd.Series) -> bool:
    """Return whether a column that varies has one value, or none, in each group."""
    if is_list(values.type) or pc.count_distinct(values).as_py() < 2:
        return False
    pairs = pd.DataFrame({"group": group, "value": _codes(values)})
    is_known = (pairs["value"] >= 0) & (pairs["group"] >= 0)
    n_values = pairs[is_known].groupby("group").nunique().to_numpy()
    return bool((n_values == 1).all())


def _note(identifier: str, shared: list[str]) -> str:
    article = "an" if identifier[0].lower() in "aeio" else "a"
    listed = ", ".join(shared[:MAX_NAMES])
    if len(shared) > MAX_NAMES:
        listed += f" and {len(shared) - MAX_NAMES} more"
    verb = "is" if len(shared) == 1 else "are"
    return (
        f"{listed} {verb} the same in all rows of {article} {identifier}. Comparisons count each "
        f"row; contrast --groups {quote(identifier)} counts each {identifier} once."
    )
