"""Columns of tables: their common schema, and those that hold the index of a pandas object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

INDEX = "index"  # name of the column that holds an index without a name


def common_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return the columns of all schemas, each with a type that its types can be cast to.

    Integers and fractions become fractions, and incompatible types become text.
    """
    types: dict[str, list[pa.DataType]] = {}
    for schema in schemas:
        for field in schema:
            types.setdefault(field.name, []).append(field.type)
    fields = [(name, _common_type(found)) for name, found in types.items()]
    return pa.schema(fields)


def _common_type(types: list[pa.DataType]) -> pa.DataType:
    if all(kind == types[0] for kind in types):
        return types[0]
    single = [pa.schema([("column", kind)]) for kind in types]
    try:
        return pa.unify_schemas(single, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return pa.string()


def index_columns(index: Any) -> list[str]:
    """Return the names of the columns that hold an index, as `DataFrame.reset_index` does."""
    if index.nlevels == 1:
        return [INDEX if index.name is None else str(index.name)]
    return [
        f"level_{level}" if name is None else str(name)
        for level, name in enumerate(index.names)
    ]


def index_levels(index: Any) -> Iterator[tuple[str, Any]]:
    """Yield the column and the values of each level of an index, unless it only numbers the rows.

    Example:
        >>> import pandas as pd
        >>> [(name, list(values)) for name, values in index_levels(pd.Index([7, 9], name="id"))]
        [('id', [7, 9])]
        >>> list(index_levels(pd.RangeIndex(2)))
        []
    """
    import pandas as pd

    if index.names == [None] and index.equals(pd.RangeIndex(len(index))):
        return
    for level, column in enumerate(index_columns(index)):
        yield column, index.get_level_values(level)
