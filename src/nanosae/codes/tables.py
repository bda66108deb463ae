"""Texts and metadata of rows as Arrow tables, and the common schema of a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import parquet

from nanosae.errors import DataError, reason_of
from nanosae.schemas import INDEX, index_levels, with_plain_types

if TYPE_CHECKING:
    import pandas as pd


def as_table(table: Any) -> pa.Table:
    """Convert texts (a list, array or series) or a table of any kind to an Arrow table.

    The index of a pandas object is left out.

    Raises:
        DataError: If it is neither.
    """
    if len(getattr(table, "shape", ())) == 1:
        table = list(table)
    if hasattr(table, "reset_index"):  # a pandas object
        table = table.reset_index(drop=True)
    try:
        if isinstance(table, list | tuple):
            table = {"text": pa.array(table, pa.string(), from_pandas=True)}
        return with_plain_types(pa.table(table))
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise DataError(
            f"metadata must be texts or a table of columns: {reason_of(error)}.",
            remedy="Give a list of str (None where one is missing), a DataFrame, an Arrow table "
            "or a dict of columns.",
        ) from error


def as_table_with_index(table: Any) -> pa.Table:
    """Convert texts or a table like `as_table`, with the index of a pandas object as columns.

    An index that has no name and merely numbers the rows is left out.

    Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"text": ["a", "b"]}, index=pd.Index([7, 9], name="id"))
        >>> as_table_with_index(frame).to_pydict()
        {'text': ['a', 'b'], 'id': [7, 9]}
    """
    found = as_table(table)
    if not hasattr(table, "reset_index"):
        return found
    for name, values in index_levels(table.index):
        if name not in found.column_names:
            found = found.append_column(name, _level(values))
    return found


def as_series(column: pa.ChunkedArray) -> pd.Series:
    """Return a column as a series in which whole numbers stay whole beside missing ones.

    Example:
        >>> as_series(pa.chunked_array([[2**60 + 1, None]])).tolist()
        [1152921504606846977, <NA>]
    """
    if not (column.null_count and pa.types.is_integer(column.type)):
        return column.to_pandas()
    import pandas as pd

    nullable = str(column.type).replace("uint", "UInt").replace("int", "Int")
    dtype = pd.api.types.pandas_dtype(nullable)
    return column.to_pandas(types_mapper=lambda _: dtype)


def without_new_index(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Leave out an index without a name from rows that are added to a corpus without it.

    Such an index merely continues the row numbers of the corpus.

    Args:
        table: Texts and metadata, from `as_table_with_index`.
        columns: The columns of the corpus.
    """
    if INDEX in columns:
        return table
    return table.select([name for name in table.column_names if name != INDEX])


def _level(values: Any) -> pa.Array:
    """Convert a level of an index; types unknown to Arrow, and mixed ones, become text."""
    try:
        return pa.array(values, from_pandas=True)
    except (TypeError, pa.ArrowException):
        return pa.array(values.map(str), from_pandas=True)


def check_types(schema: pa.Schema) -> None:
    """Raise a DataError if a column has a type that Parquet cannot store."""
    for field in schema:
        try:
            parquet.ParquetWriter(pa.BufferOutputStream(), pa.schema([field])).close()
        except pa.ArrowNotImplementedError as error:
            raise DataError(
                f"column {field.name!r} has the type {field.type}, which cannot be stored.",
                column=field.name,
                remedy="Convert it to text, or leave it out.",
            ) from error


def decoded(table: pa.Table) -> pa.Table:
    """Decode dictionary columns, for which Parquet would store a dictionary per row group."""
    for i, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(
                i, field.name, table[i].cast(field.type.value_type)
            )
    return table.replace_schema_metadata(None)


def extended_schema(known: pa.Schema | None, new: pa.Schema, path: Path) -> pa.Schema:
    """Return the schema of a corpus after adding rows.

    Raises:
        DataError: If the type of a column cannot be stored, or does not fit that of the existing
            rows.
    """
    if known is None:
        check_types(new)
        return new
    for field in new:
        before = known.field(field.name)
        both = [pa.schema([before]), pa.schema([field])]
        try:
            pa.unify_schemas(both, promote_options="permissive")
        except pa.ArrowException:
            raise DataError(
                f"column {field.name!r} is {before.type} in {path}, but {field.type} in the new "
                "rows.",
                file=path,
                column=field.name,
                remedy="Give it the same type, or encode the rows as another corpus.",
            ) from None
    return pa.unify_schemas([known, new], promote_options="permissive")
