"""Tables of texts as people have them: CSV of any dialect, JSON, Excel, Parquet, a line per text.

`read_table` reads what a file says and leaves the choice of columns to `roles`. Delimiter, byte
order mark, decimal comma and a missing header are recognised; an encoding is never guessed. A file
may be compressed with gzip, bzip2 or Zstandard, and may be a folder or a glob of files of one type.
"""

from __future__ import annotations

import csv
import glob
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute
from pyarrow import csv as arrow_csv
from pyarrow import feather, parquet
from pyarrow import json as arrow_json

from nanosae.errors import DataError, MissingError
from nanosae.extras import extra

pc: Any = pyarrow.compute  # its functions are made when it is imported

DELIMITED = (".csv", ".tsv", ".tab")
JSON_LINES = (".jsonl", ".ndjson")
SUFFIXES = (
    *DELIMITED,
    *JSON_LINES,
    ".json",
    ".parquet",
    ".feather",
    ".arrow",
    ".xlsx",
    ".txt",
)
COMPRESSED = (".gz", ".bz2", ".zst")
SNIFFED_BYTES = 2**17  # of a CSV file, to recognise its dialect
HEADER_WORDS = 8  # a first line with a cell of more words is a row, not a header
HEADER_CHARACTERS = 80


def read_table(path: str | Path, encoding: str = "utf-8") -> pa.Table:
    r"""Read a table of texts and metadata.

    Args:
        path: A .csv .tsv .jsonl .ndjson .json .parquet .feather .arrow .xlsx or .txt file (a text
            per line), perhaps with a further .gz .bz2 or .zst; or a folder or glob of files of one
            of these types, which are joined in the order of their names.
        encoding: Of CSV and text files.

    Returns:
        The columns with the types that the file gives them.

    Raises:
        MissingError: If there is no such file.
        DataError: If a file cannot be read as what its name says; names the file and the remedy.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "reviews.csv")
        ...     _ = file.write_text("review;stars\nlovely, really;5\nno;1\n")
        ...     read_table(file).to_pydict()
        {'review': ['lovely, really', 'no'], 'stars': [5, 1]}
    """
    files = _files(Path(path))
    tables = [_read_file(file, encoding) for file in files]
    if len(tables) == 1:
        return tables[0]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(
            f"The {len(files)} files of {path} do not have the same columns: {error}",
            file=path,
        ) from error


def _files(path: Path) -> list[Path]:
    """Return the file, or the files of a folder or glob, which must be of one type."""
    if path.is_file():
        found = [path]
    else:
        pattern = f"{glob.escape(str(path))}/*" if path.is_dir() else str(path)
        found = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207
        found = [file for file in found if file.is_file() and _suffix(file) in SUFFIXES]
    if not found:
        raise MissingError(
            f"{path} does not exist, or holds no file of a type that is read."
        )
    types = sorted({_suffix(file) for file in found})
    if len(types) > 1:
        raise DataError(
            f"{path} holds files of several types: {', '.join(types)}.",
            file=path,
            remedy=f"Name one type: {path}/*{types[0]}",
        )
    if types[0] not in SUFFIXES:
        raise DataError(
            f"{path} is a {types[0] or 'nameless'} file; read are {', '.join(SUFFIXES)}.",
            file=path,
        )
    return found


def _suffix(file: Path) -> str:
    if file.suffix.lower() in COMPRESSED:
        file = file.with_suffix("")
    return file.suffix.lower()


def _read_file(file: Path, encoding: str) -> pa.Table:
    suffix = _suffix(file)
    try:
        if suffix in DELIMITED:
            return _read_csv(file, encoding)
        if suffix in JSON_LINES:
            return _read_json_lines(file)
        if suffix == ".json":
            return _read_json(file)
        if suffix == ".txt":
            return _read_lines(file, encoding)
        if suffix == ".xlsx":
            extra("excel", "openpyxl", "reading .xlsx files")
            return pa.Table.from_pandas(pd.read_excel(file), preserve_index=False)
        if suffix == ".parquet":
            return parquet.read_table(file)
        return feather.read_table(file)
    except DataError:
        raise
    except UnicodeDecodeError as error:
        raise _not_decoded(file, encoding) from error
    except (pa.ArrowException, ValueError, OSError) as error:
        raise DataError(
            f"{file} cannot be read as a {suffix} file: {_first_line(error)}", file=file
        ) from error


def _not_decoded(file: Path, encoding: str) -> DataError:
    return DataError(
        f"{file} is not in {encoding}.",
        file=file,
        remedy="Files saved by Excel are often in cp1252 (Latin-1): give --encoding cp1252, or "
        "save the file as UTF-8.",
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _read_csv(file: Path, encoding: str) -> pa.Table:
    with pa.input_stream(str(file), compression="detect") as stream:
        head = stream.read(SNIFFED_BYTES)
    lines = _whole_lines(head, file, encoding)
    if not lines.strip():
        raise DataError(f"{file} is empty.", file=file)
    delimiter = _delimiter(lines, file)
    first_row = next(csv.reader(lines.splitlines(), delimiter=delimiter))
    has_header = not _is_data(first_row)
    names = [f"column{i}" for i in range(1, len(first_row) + 1)]
    read = arrow_csv.ReadOptions(
        encoding=encoding,
        column_names=None if has_header else names,
        block_size=2**26,  # a row must fit into a block
    )
    parse = arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    decimal_point = "," if delimiter == ";" else "."
    convert = arrow_csv.ConvertOptions(
        strings_can_be_null=True,
        decimal_point=decimal_point,
        null_values=["", "NA", "N/A", "null"],
    )
    with pa.input_stream(str(file), compression="detect") as stream:
        table = arrow_csv.read_csv(stream, read, parse, convert)
    if any(pa.types.is_binary(field.type) for field in table.schema):
        # columns that are not UTF-8 are taken for bytes
        raise _not_decoded(file, encoding)
    return table


def _whole_lines(head: bytes, file: Path, encoding: str) -> str:
    """Decode the beginning of a file, without a line that was cut in two."""
    if len(head) == SNIFFED_BYTES:
        head = head[: head.rfind(b"\n") + 1] or head[:-4]
    codec = "utf-8-sig" if encoding == "utf-8" else encoding
    try:
        return head.decode(codec)
    except UnicodeDecodeError as error:
        raise _not_decoded(file, encoding) from error


def _delimiter(lines: str, file: Path) -> str:
    """Return the delimiter that cuts the first rows into the same number of several cells."""
    if _suffix(file) in (".tsv", ".tab"):
        return "\t"
    best, most_cells = ",", 1
    for delimiter in ",;\t|":
        rows = [
            row for row in csv.reader(lines.splitlines(), delimiter=delimiter) if row
        ][:50]
        widths = {len(row) for row in rows}
        n_cells = len(rows[0])
        if len(widths) == 1 and n_cells > most_cells:
            best, most_cells = delimiter, n_cells
    return best


def _is_data(cells: list[str]) -> bool:
    """Tell whether the first line of a file is a row: it holds a number, or a text."""
    for cell in cells:
        try:
            float(cell)
        except ValueError:
            pass
        else:
            return True
        if len(cell.split()) > HEADER_WORDS or len(cell) > HEADER_CHARACTERS:
            return True
    return False


def _read_lines(file: Path, encoding: str) -> pa.Table:
    """Read a text per line; empty lines are none."""
    with pa.input_stream(str(file), compression="detect") as stream:
        content = stream.read()
    codec = "utf-8-sig" if encoding == "utf-8" else encoding
    lines = content.decode(codec).splitlines()
    return pa.table({"text": [line for line in lines if line.strip()]})


def _read_json_lines(file: Path) -> pa.Table:
    with pa.input_stream(str(file), compression="detect") as stream:
        read = arrow_json.ReadOptions(block_size=2**26)
        return _with_chats_as_text(arrow_json.read_json(stream, read))


def _read_json(file: Path) -> pa.Table:
    """Read a JSON array of objects or strings, an object of columns, or JSON lines."""
    with pa.input_stream(str(file), compression="detect") as stream:
        content = stream.read()
    try:
        value = json.loads(content)
    except json.JSONDecodeError:
        return _read_json_lines(file)
    if isinstance(value, dict):
        lists = {
            name: column for name, column in value.items() if isinstance(column, list)
        }
        if len(lists) == 1:
            (value,) = lists.values()
        else:
            return _with_chats_as_text(pa.table(lists))
    if value and all(isinstance(text, str) for text in value):
        return pa.table({"text": value})
    return _with_chats_as_text(pa.Table.from_pylist(value))


def _with_chats_as_text(table: pa.Table) -> pa.Table:
    """Turn columns of chat messages, lists of {"role", "content"}, into texts."""
    for i, field in enumerate(table.schema):
        if not _is_chat(field.type):
            continue
        texts = [_chat_text(messages) for messages in table.column(i).to_pylist()]
        table = table.set_column(i, field.name, pa.array(texts, pa.string()))
    return table


def _is_chat(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if not is_list or not pa.types.is_struct(kind.value_type):
        return False
    return kind.value_type.get_field_index("content") >= 0


def _chat_text(messages: list[dict[str, Any]] | None) -> str | None:
    if messages is None:
        return None
    return "\n".join(
        str(message["content"]) for message in messages if message.get("content")
    )


def drop_empty_texts(table: pa.Table, column: str) -> tuple[pa.Table, int]:
    """Return the rows whose text is not empty, and the number of the others."""
    texts = pc.utf8_trim_whitespace(pc.fill_null(table[column], ""))
    kept = table.filter(pc.not_equal(texts, ""))
    return kept, len(table) - len(kept)
