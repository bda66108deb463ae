"""Texts and metadata of rows as Arrow tables, and the one schema of a corpus."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from nanosae.errors import DataError


def as_table(table: Any) -> pa.Table:
    """Return texts (a list) or a table of any kind as an Arrow table."""
    if isinstance(table, list):
        return pa.table({"text": pa.array(table, pa.string(), from_pandas=True)})
    if hasattr(table, "reset_index"):  # of pandas
        table = table.reset_index(drop=True)
    return pa.table(table)


def decoded(table: pa.Table) -> pa.Table:
    """Decode dictionary columns: Parquet makes one of its own for each row group."""
    for i, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(i, field.name, table[i].cast(field.type.value_type))
    return table.replace_schema_metadata(None)


def common_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return a schema to which all can be cast: columns without a common type become text."""
    try:
        return pa.unify_schemas(list(schemas), promote_options="permissive")
    except pa.ArrowException:
        return pa.schema(_common_field(name, schemas) for name in schemas[0].names)


def _common_field(name: str, schemas: Sequence[pa.Schema]) -> pa.Field:
    single = [pa.schema([schema.field(name)]) for schema in schemas]
    try:
        return pa.unify_schemas(single, promote_options="permissive").field(0)
    except pa.ArrowException:
        return pa.field(name, pa.string())


def extended_schema(known: pa.Schema | None, new: pa.Schema, path: Path) -> pa.Schema:
    """Return the schema of a corpus to which rows are added.

    Raises:
        DataError: If a column of the new rows has a type that does not fit its rows so far.
    """
    if known is None:
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


def table_checksum(table: pa.Table | None) -> str:
    """Return a checksum of all values, names and types of a table; "" for none."""
    if table is None:
        return ""
    sink = _Checksum()
    plain = decoded(table).combine_chunks()
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), plain.schema) as writer:
        writer.write_table(plain)
    return f"{sink.crc:08x}"


class _Checksum:
    """A file that keeps only the checksum of what is written to it."""

    closed = False

    def __init__(self) -> None:
        self.crc = 0

    def write(self, data: Any) -> int:
        self.crc = zlib.crc32(data, self.crc)
        return len(data)

    def flush(self) -> None:
        pass
