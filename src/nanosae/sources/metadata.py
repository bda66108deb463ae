"""The columns other than the vectors, with one schema for all shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from nanosae.errors import DataError
from nanosae.schemas import common_schema


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


def join_metadata(given: Sequence[Metadata | None]) -> Metadata | None:
    """Concatenate the metadata of shards; return None if no shard has any.

    Each column gets a type for all its values: integers and fractions become fractions, and
    incompatible types become text. Columns that a shard lacks are null.
    """
    shards = [shard for shard in given if shard is not None]
    schema = common_schema([shard.schema for shard in shards])
    if not len(schema):
        return None

    def batches() -> Iterator[pa.RecordBatch]:
        for shard in shards:
            if not len(shard.schema):
                yield _nulls(schema, shard.n_rows)
                continue
            for batch in shard.batches():
                columns = conforming_columns(batch, schema)
                yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return Metadata(schema, sum(shard.n_rows for shard in shards), batches)


def conforming_columns(table: pa.RecordBatch | pa.Table, schema: pa.Schema) -> list:
    """Return columns of the types of a schema, which has all columns of the table."""
    columns = []
    for field in schema:
        if field.name in table.schema.names:
            columns.append(_cast(table.column(field.name), field))
        else:
            columns.append(pa.nulls(len(table), field.type))
    return columns


def _cast(column: Any, field: pa.Field) -> Any:
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
