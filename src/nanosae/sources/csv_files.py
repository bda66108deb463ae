"""Tables out of CSV and TSV files: whole, or block by block where they are large."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from nanosae.errors import DataError
from nanosae.sources.tables import LazyTable, table_in_memory

DELIMITERS = {".csv": ",", ".tsv": "\t"}
LARGE = 2**30  # bytes from which on a file is read block by block
BLOCK_BYTES = 2**24


def read_csv(path: Path, text_column: str | None = None) -> pa.Table:
    """Read a whole file.

    Args:
        path: The file; its suffix tells the delimiter.
        text_column: A column to be read as it is written; the other types are inferred.
    """
    types = {} if text_column is None else {text_column: pa.string()}
    # "n/a" in a column of numbers is a bad cell, to be named, and not a missing value
    convert = csv.ConvertOptions(null_values=[""], column_types=types)
    table = csv.read_csv(
        path, parse_options=_parse_options(path), convert_options=convert
    )
    _check_encoding(table.schema)
    return table


def open_csv(path: Path) -> LazyTable:
    """Open a file as a table."""
    if path.stat().st_size > LARGE:
        return _open_large(path)
    return table_in_memory(read_csv(path))


def _parse_options(path: Path) -> csv.ParseOptions:
    return csv.ParseOptions(delimiter=DELIMITERS[path.suffix], newlines_in_values=True)


def _open_large(path: Path) -> LazyTable:
    """Describe a file that is read from its start each time; types come from its first block."""
    options = csv.ReadOptions(block_size=BLOCK_BYTES)
    parse = _parse_options(path)
    with csv.open_csv(path, options, parse) as first:
        inferred = first.schema
    _check_encoding(inferred)
    fields = []
    for field in inferred:
        kind = pa.string() if pa.types.is_null(field.type) else field.type
        fields.append((field.name, kind))
    schema = pa.schema(fields)

    def read_group(_: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        # A number may turn out to be a fraction or a bad cell later, so that all are read as text
        # and converted where a row can be named.
        as_text = dict.fromkeys(columns, pa.string())
        convert = csv.ConvertOptions(
            null_values=[""], column_types=as_text, include_columns=columns
        )
        yield from csv.open_csv(path, options, parse, convert)

    first_column = read_group(0, schema.names[:1])
    n_rows = sum(map(len, first_column))
    return LazyTable(schema, [n_rows], read_group, indivisible=True)


def _check_encoding(schema: pa.Schema) -> None:
    """Refuse text that is not UTF-8, which Arrow would take for bytes."""
    for field in schema:
        if pa.types.is_binary(field.type):
            raise DataError(
                f"column {field.name!r} is not in UTF-8.",
                column=field.name,
                remedy="Save the file as UTF-8, or read it with pandas.read_csv(file, "
                'encoding="latin-1") or its true encoding.',
            )
