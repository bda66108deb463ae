"""The role of each column of a table: text, category, date, number, tags, or unused.

Roles are derived from types, values and names alone. Each comes with a reason in words, so that a
user can check it and override it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import pandas as pd
import pyarrow as pa

from nanosae.errors import DataError
from nanosae.sources.categories import Column, Role
from nanosae.sources.column_names import TEXT_NAMES, field_of
from nanosae.sources.column_role import column_role, mean_words
from nanosae.sources.kinds import (
    is_list,
    is_text,
    pc,
    spread_sample,
    without_dictionary,
)
from nanosae.sources.tags import SEPARATORS, tag_separator

EQUALLY_LIKELY = 0.6  # share of words from which the shorter of two texts is as likely


def column_roles(table: pa.Table, skip: Sequence[str] = ()) -> list[Column]:
    """Return the role of each column of a table.

    Args:
        table: Texts and metadata.
        skip: Columns without a role, such as vectors.

    Returns:
        The roles in the order of the columns. At most one is `text`.

    Raises:
        DataError: If two columns are equally likely to be the text.

    Example:
        >>> texts = [f"a text about the river number {i}" for i in range(40)]
        >>> table = pa.table({"body": texts, "kind": ["a", "b"] * 20, "id": range(40)})
        >>> [(column.name, column.role) for column in column_roles(table)]
        [('body', 'text'), ('kind', 'category'), ('id', 'id')]
    """
    names = [name for name in table.column_names if name not in skip]
    found = [column_role(name, table.column(name)) for name in names]
    found = _without_repeated(table, found)
    candidates = [column.name for column in found if column.role == "text"]
    text = _choose_text(table, candidates)
    columns = []
    for column in found:
        if column.role == "text" and column.name != text:
            reason = f"{column.reason}, but {text!r} was chosen as the text"
            column = Column(column.name, "unused", reason)
        columns.append(column)
    return columns


def _without_repeated(table: pa.Table, columns: list[Column]) -> list[Column]:
    """Drop categories that group the rows like an earlier one, such as a code beside its name."""
    kept: list[Column] = []
    name_of_grouping: dict[bytes, str] = {}
    for column in columns:
        if column.role == "category":
            grouping = _grouping(table.column(column.name))
            same = name_of_grouping.setdefault(grouping, column.name)
            if same != column.name:
                column = Column(
                    column.name, "unused", f"groups the rows exactly as {same} does"
                )
        kept.append(column)
    return kept


def _grouping(values: pa.ChunkedArray) -> bytes:
    """Return a checksum of the group numbers of the rows, in order of first appearance."""
    numbers, _ = pd.factorize(without_dictionary(values).to_pandas())
    return hashlib.sha256(numbers.tobytes()).digest()


def likely_text(table: pa.Table, columns: Sequence[Column]) -> str | None:
    """Return the column that may be the text although it does not look like one, or None.

    This is the unused column of strings with the most distinct values, if it has two at least.
    """
    n_distinct = {}
    for column in columns:
        values = table.column(column.name)
        if column.role == "unused" and is_text(values.type):
            n_distinct[column.name] = pc.count_distinct(values).as_py()
    n_distinct = {name: n for name, n in n_distinct.items() if n > 1}
    return max(n_distinct, key=lambda name: n_distinct[name], default=None)


def with_roles(
    columns: Sequence[Column], table: pa.Table, roles: Mapping[str, Role]
) -> list[Column]:
    """Override the roles of the columns that a user named.

    Args:
        columns: The roles from `column_roles`.
        table: Texts and metadata.
        roles: Roles by column. A category becomes `tags` if its cells hold several values.

    Example:
        >>> table = pa.table({"shelf": ["art|film", "art", "film|art"]})
        >>> with_roles(column_roles(table), table, {"shelf": "category"})
        [Column(name='shelf', role='tags', reason='as requested')]
    """
    named = []
    for column in columns:
        role = roles.get(column.name, column.role)
        if role == "category" and column.role != "category":
            values = table.column(column.name)
            if column.role == "tags" or _may_hold_tags(values):
                role = "tags"
        if role != column.role:
            column = Column(column.name, role, "as requested")
        named.append(column)
    return named


def _may_hold_tags(values: pa.ChunkedArray) -> bool:
    """Return whether a column holds lists, or tags separated by bars."""
    if is_list(values.type):
        return True
    return is_text(values.type) and tag_separator(values) == SEPARATORS[0]


def _choose_text(table: pa.Table, candidates: list[str]) -> str | None:
    """Return the most likely text column; raise an error if two are equally likely."""
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    named = [name for name in candidates if TEXT_NAMES.match(field_of(name))]
    if len(named) == 1:
        return named[0]
    words = {
        name: mean_words(spread_sample(table.column(name)))
        for name in named or candidates
    }
    first, second = sorted(words, key=lambda name: -words[name])[:2]
    if words[second] >= EQUALLY_LIKELY * words[first]:
        raise DataError(
            f"Which column is the text: {first!r} ({words[first]:.0f} words on average) or "
            f"{second!r} ({words[second]:.0f})?",
            column=first,
            remedy=f"Choose one: text={first!r} or text={second!r} (--text NAME).",
        )
    return first
