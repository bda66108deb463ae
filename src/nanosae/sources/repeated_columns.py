"""Columns with the same name, which issue trackers export for fields of several values."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pyarrow as pa

from nanosae.sources.kinds import is_text, pc


def with_repeated_as_lists(table: pa.Table) -> pa.Table:
    """Combine columns with the same name into one column of lists of strings.

    Columns are combined if each is empty wherever the previous one is, and the last one in more
    rows than the first: they then hold the first, second, … value of a field.

    Example:
        >>> columns = [["late", "lost", None], ["lost", None, None]]
        >>> table = pa.Table.from_arrays(list(map(pa.array, columns)), ["labels", "labels"])
        >>> with_repeated_as_lists(table).to_pydict()
        {'labels': [['late', 'lost'], ['lost'], []]}
    """
    counted = Counter(table.column_names)
    for name in [name for name, n in counted.items() if n > 1]:
        places = [i for i, other in enumerate(table.column_names) if other == name]
        columns = [table.column(i).combine_chunks() for i in places]
        if not _are_values_of_one_field(columns):
            continue
        lists = _as_lists(columns)
        for place in reversed(places[1:]):
            table = table.remove_column(place)
        table = table.set_column(places[0], name, lists)
    return table


def _are_values_of_one_field(columns: list[pa.Array]) -> bool:
    kinds = {column.type for column in columns}
    if not all(is_text(kind) or pa.types.is_null(kind) for kind in kinds):
        return False
    is_empty = [_is_empty(column) for column in columns]
    has_gaps = [_any_without(before, after) for before, after in pairwise(is_empty)]
    has_ends = _any_without(is_empty[-1], is_empty[0])
    return has_ends and not any(has_gaps)


def _any_without(first: pa.Array, second: pa.Array) -> bool:
    """Return whether in any row the first is true and the second is not."""
    return pc.any(pc.and_not(first, second)).as_py() or False


def _is_empty(column: pa.Array) -> pa.Array:
    strings = pc.fill_null(column.cast(pa.string()), "")
    return pc.equal(pc.utf8_trim_whitespace(strings), "")


def _as_lists(columns: list[pa.Array]) -> pa.Array:
    strings = [column.to_pylist() for column in columns]
    rows = zip(*strings, strict=True)
    lists = [[cell for cell in row if cell and cell.strip()] for row in rows]
    return pa.array(lists, pa.list_(pa.string()))


def with_own_names(table: pa.Table) -> pa.Table:
    """Give columns without a name, or with that of an earlier one, a name of their own."""
    names: list[str] = []
    for i, given in enumerate(table.column_names):
        name = given or f"column{i + 1}"
        number = 2
        while name in names:
            name = f"{given} ({number})"
            number += 1
        names.append(name)
    return table.rename_columns(names).replace_schema_metadata(table.schema.metadata)
