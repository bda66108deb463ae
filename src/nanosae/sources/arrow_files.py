"""Tables from Parquet, Feather and Arrow files, memory-mapped or read by groups of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from nanosae.sources.tables import LazyTable, table_in_memory

BATCH_ROWS = 2**14  # rows of a row group decoded at a time


def open_parquet(path: Path) -> LazyTable:
    """Open a Parquet file, whose row groups are read on demand."""
    # the file is not kept open, because there may be thousands
    metadata = parquet.read_metadata(path)
    sizes = [
        metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)
    ]
    return LazyTable(
        schema=metadata.schema.to_arrow_schema(),
        group_sizes=sizes,
        read_group=partial(_read_row_group, path, metadata),
        indivisible=True,
    )


def _read_row_group(
    path: Path, metadata: parquet.FileMetaData, group: int, columns: list[str]
) -> Iterator[pa.RecordBatch]:
    with parquet.ParquetFile(path, metadata=metadata, memory_map=True) as file:
        for batch in file.iter_batches(BATCH_ROWS, [group], columns):
            yield batch.select(columns)


def open_arrow(path: Path) -> LazyTable:
    """Open an Arrow file or stream, memory-mapped or, if it is compressed, read in batches."""
    source = pa.memory_map(str(path))
    if source.read_at(6, 0) != b"ARROW1":
        return _validated_table(pa.ipc.open_stream(source).read_all())
    file = pa.ipc.open_file(source)
    allocated = pa.total_allocated_bytes()
    sizes = [len(file.get_batch(number)) for number in range(file.num_record_batches)]
    is_mapped = pa.total_allocated_bytes() == allocated
    if not sizes or is_mapped:
        return _validated_table(file.read_all())

    def read_group(group: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        return _validated([file.get_batch(group)], columns)

    return LazyTable(file.schema, sizes, read_group, indivisible=True)


def _validated_table(table: pa.Table) -> LazyTable:
    """Wrap a table whose batches are validated when they are read."""

    def read_group(_: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        return _validated(table.to_batches(), columns)

    return replace(table_in_memory(table), read_group=read_group)


def _validated(
    batches: Iterable[pa.RecordBatch], columns: list[str]
) -> Iterator[pa.RecordBatch]:
    """Yield some columns of batches; Arrow checks no offsets itself, and crashes by wrong ones."""
    for batch in batches:
        chosen = batch.select(columns)
        chosen.validate(full=True)
        yield chosen
