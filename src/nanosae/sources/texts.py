"""Texts and their metadata out of a file: CSV, TSV, Parquet, JSON lines, or a line per text.

The text column is read as it is written: `007` and `2024-01-02` stay texts. The types of the other
columns are inferred.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from pyarrow import json, parquet

from nanosae.errors import DataError, MissingError
from nanosae.sources.csv_files import DELIMITERS, read_csv
from nanosae.sources.detection import natural_key
from nanosae.sources.faults import naming
from nanosae.sources.metadata import join_metadata, metadata_of_table

FORMATS = "Parquet, CSV, JSON-lines or text file"


def read_texts(path: str | Path, column: str = "text") -> pa.Table:
    r"""Read texts and their metadata.

    Args:
        path: A .txt file with one text per line, a .csv .tsv .jsonl or .parquet file, or a folder
            of Parquet files.
        column: Name of the text column; a .txt file gets it.

    Returns:
        A table with that column and all others, in the order of the file.

    Raises:
        MissingError: If there is no such path; it is a FileNotFoundError.
        DataError: If the file is not of its format, not in UTF-8, or lacks the column; it is a
            ValueError.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "texts.csv")
        ...     _ = file.write_text("text,year\n007,1962\n")
        ...     read_texts(file).to_pylist()
        [{'text': '007', 'year': 1962}]
    """
    path = Path(path)
    if not path.exists():
        raise MissingError(f"{path} does not exist.", file=path)
    try:
        table = _read_table(path, column)
    except UnicodeDecodeError as error:
        problem = f"{path} is not in UTF-8: {error}."
        raise DataError(problem, file=path, remedy="Save it as UTF-8.") from error
    except (DataError, pa.ArrowException) as error:
        raise DataError(f"{path} is no {FORMATS}: {error}", file=path) from error
    if column not in table.column_names:
        raise DataError(
            f"{path} has no column {column!r}:",
            file=path,
            column=column,
            remedy=f"choose one of {', '.join(table.column_names)}.",
        )
    return table


def _read_table(path: Path, column: str) -> pa.Table:
    if path.is_dir():
        return _read_folder(path)
    if path.suffix == ".txt":
        with path.open(encoding="utf-8") as lines:
            return pa.table({column: [line.rstrip("\n") for line in lines]})
    if path.suffix in DELIMITERS:
        return read_csv(path, text_column=column)
    if path.suffix == ".jsonl":
        return _read_json_lines(path, column)
    return parquet.read_table(path)


def _read_json_lines(path: Path, column: str) -> pa.Table:
    parse = json.ParseOptions(explicit_schema=pa.schema({column: pa.string()}))
    table = json.read_json(path, parse_options=parse)
    if table[column].null_count == len(table):
        return table.drop_columns(column)  # the schema made it up
    return table


def _read_folder(folder: Path) -> pa.Table:
    """Read Parquet files in the order in which `open_rows` reads shards of the same names."""
    tables = []
    names = [str(file) for file in folder.glob("*.parquet")]
    for name in sorted(names, key=natural_key):
        with naming(Path(name)):
            tables.append(parquet.read_table(name))
    metadata = join_metadata([metadata_of_table(table) for table in tables])
    if metadata is None:
        raise DataError("there is no Parquet file in the folder.")
    return pa.Table.from_batches(metadata.batches(), metadata.schema)
