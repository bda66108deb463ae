"""Columns of tables: their types, and those that hold the index of a pandas object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from nanosae.errors import DataError

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


def conforming_columns(table: pa.RecordBatch | pa.Table, schema: pa.Schema) -> list:
    """Return columns of the types of a schema, which has all columns of the table."""
    columns = []
    for field in schema:
        if field.name in table.schema.names:
            columns.append(cast_column(table.column(field.name), field))
        else:
            columns.append(pa.nulls(len(table), field.type))
    return columns


def cast_column(column: Any, field: pa.Field) -> Any:
    """Cast a column of a shard to the type that all shards have in common.

    Raises:
        DataError: If a value does not fit, such as an integer beyond 2⁵³ among fractions.
    """
    try:
        return column if column.type == field.type else column.cast(field.type)
    except pa.ArrowException as error:
        raise DataError(
            f"column {field.name!r} is {column.type} in one shard and cannot be converted to "
            f"{field.type}, its type in another: {error}",
            column=field.name,
            remedy="Write the column with the same type in all shards.",
        ) from error


def with_plain_types(table: pa.Table) -> pa.Table:
    """Return a table whose texts, bytes and dictionaries have types that all functions support.

    Arrow cannot take rows of views of strings, and not all versions convert dictionaries with
    unsigned indices, as Polars has, to pandas.

    Example:
        >>> views = pa.table({"text": pa.array(["a"], pa.string_view())})
        >>> with_plain_types(views).schema.types
        [DataType(string)]
    """
    fields = [field.with_type(_plain_type(field.type)) for field in table.schema]
    schema = pa.schema(fields, table.schema.metadata)
    return table if schema.equals(table.schema) else table.cast(schema)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_dictionary(kind):
        is_unsigned = pa.types.is_unsigned_integer(kind.index_type)
        indices = pa.int64() if is_unsigned else kind.index_type
        return pa.dictionary(indices, _plain_type(kind.value_type), kind.ordered)
    if pa.types.is_large_list(kind):
        return pa.large_list(_plain_type(kind.value_type))
    if pa.types.is_list(kind):
        return pa.list_(_plain_type(kind.value_type))
    if pa.types.is_struct(kind):
        fields = [field.with_type(_plain_type(field.type)) for field in kind]
        return pa.struct(fields)
    return kind


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


def refuse_other_order(rows: Any, others: Any, what: str) -> None:
    """Refuse pandas objects whose indices have the same labels in different orders.

    They are put side by side by the numbers of the rows, which may not be meant.

    Raises:
        DataError: If this is so.
    """
    if not (hasattr(rows, "reset_index") and hasattr(others, "reset_index")):
        return
    labels, other_labels = rows.index, others.index
    if labels.equals(other_labels) or not labels.is_unique:
        return
    if len(labels) == len(other_labels) and labels.isin(other_labels).all():
        raise DataError(
            f"The index of the {what} has the labels of the data's in another order.",
            remedy=f"Give {what}.loc[data.index], or {what}.reset_index(drop=True) if the rows "
            "are in the same order.",
        )
