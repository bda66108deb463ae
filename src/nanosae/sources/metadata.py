"""The columns other than the vectors, with one schema for all shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from nanosae.schemas import common_schema, conforming_columns


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


def _nulls(schema: pa.Schema, n_rows: int) -> pa.RecordBatch:
    columns = [pa.nulls(n_rows, field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
