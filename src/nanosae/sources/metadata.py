"""The columns other than the vectors, with one schema for all shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from nanosae.errors import DataError


@dataclass(frozen=True)
class Metadata:
    """Columns that are read in batches, in row order.

    Attributes:
        schema: Names and types of the columns.
        n_rows: Number of rows.
        batches: Function that yields all rows with this schema.
    """

    schema: pa.Schema
    n_rows: int
    batches: Callable[[], Iterator[pa.RecordBatch]]


def metadata_of_table(table: pa.Table) -> Metadata:
    """Return the metadata of a table in memory."""
    return Metadata(table.schema, table.num_rows, lambda: iter(table.to_batches()))


def join_metadata(shards: Sequence[Metadata]) -> Metadata | None:
    """Concatenate the metadata of shards; return None if no shard has any.

    Each column gets a type for all its values: integers and fractions become fractions, and
    incompatible types become text. Columns that a shard lacks are null.
    """
    schema = common_schema([shard.schema for shard in shards])
    if not len(schema):
        return None

    def batches() -> Iterator[pa.RecordBatch]:
        for shard in shards:
            if not len(shard.schema):
                yield _nulls(schema, shard.n_rows)
                continue
            for batch in shard.batches():
                yield _conform(batch, schema)

    return Metadata(schema, sum(shard.n_rows for shard in shards), batches)


def common_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return the columns of all schemas, each with a type that its types can be cast to."""
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


def _conform(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Cast a batch to a schema that has all its columns."""
    columns = []
    for field in schema:
        if field.name in batch.schema.names:
            columns.append(_cast(batch.column(field.name), field))
        else:
            columns.append(pa.nulls(len(batch), field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _cast(column: pa.Array, field: pa.Field) -> pa.Array:
    try:
        return column.cast(field.type)
    except pa.ArrowException as error:
        raise DataError(
            f"column {field.name!r} is {column.type} in one shard and cannot be converted to "
            f"{field.type}, its type in another: {error}",
            column=field.name,
            remedy="Write the column with the same type in all shards.",
        ) from error


def _nulls(schema: pa.Schema, n_rows: int) -> pa.RecordBatch:
    columns = [pa.nulls(n_rows, field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
