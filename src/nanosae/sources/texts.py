"""Read texts and their metadata from CSV of any dialect, JSON, Excel, Arrow or plain text.

The named text column is read verbatim: `007` and `2024-01-02` stay texts. The types of the other
columns are inferred. Files can be compressed with gzip, bzip2 or Zstandard, and a folder or a glob
of files of one type is read as one table.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import feather, parquet

from nanosae.errors import DataError, MissingError, first_line_of, near_names
from nanosae.schemas import INDEX, common_schema, conforming_columns, with_plain_types
from nanosae.sources.csv_files import DELIMITED, read_csv
from nanosae.sources.excel_files import read_excel
from nanosae.sources.folders import (
    MARKDOWN,
    files_of,
    folder_columns,
    matching,
    readable,
    suffix_of,
)
from nanosae.sources.json_files import (
    read_json,
    read_json_lines,
    read_json_records,
    with_chats_as_text,
)
from nanosae.sources.kinds import is_list, is_text, pc
from nanosae.sources.line_files import read_lines, read_text_files
from nanosae.sources.notes import notes_of, with_note
from nanosae.sources.repeated_columns import with_own_names, with_repeated_as_lists

JSON_LINES = (".jsonl", ".ndjson")
ARROW = (".feather", ".arrow")
TEXT_FILE = ".txt"
LINES = (TEXT_FILE, ".log", ".srt", ".vtt")
WORKBOOKS = (".xlsx", ".ods")  # a damaged .xls can end calamine's process
TABLES = (*DELIMITED, *JSON_LINES, ".json", ".parquet", *ARROW, *WORKBOOKS)
SUFFIXES = (*TABLES, *LINES, MARKDOWN)
MANY_FILES = 50  # .txt files from which each file is a text; otherwise each line is one
ARCHIVES = (".zip", ".tar", ".7z", ".rar", ".xz")
STORED_INDEX = "__index_level_0__"  # as pandas calls an index without a name
# fields that identify a record
RECORD_NAMES = ("name", "label", "value", "tag", "title")
# cells of missing numbers and dates
MISSING = ("", "NA", "N/A", "n/a", "null", "NULL", "NaN", "nan", "None", "-")
NO_DATE = ("0000-00-00", "0000-00-00 00:00:00")  # of MySQL
# texts that stand for a missing one; "None" can be an answer
PLACEHOLDERS = ("NA", "N/A", "n/a", "#N/A", "<NA>", "null", "NULL", "NaN", "nan", "-")


def read_texts(
    path: str | Path,
    column: str | None = None,
    *,
    encoding: str = "utf-8",
    keep_chats: bool = False,
) -> pa.Table:
    r"""Read texts and their metadata.

    A .txt file has one text per line, unless it is a chat, subtitles (also .srt and .vtt), a log
    (also .log), a book or a poem, which have one text per message, entry, paragraph or verse. If
    there are at least 50 .txt files, each file is one text, as .md files always are. Several .json
    files with one object each are one row each. The column `file` has the names of several such
    files, and files in several folders get the columns `folder` and `subfolder`.

    Args:
        path: A .csv .tsv .jsonl .ndjson .json .parquet .feather .arrow .xlsx .ods .txt or .md
            file, possibly compressed as .gz .bz2 or .zst; or a folder or glob of files of one type,
            which are joined in the natural order of their names.
        column: The text column, which is read verbatim; also the name of the texts of a .txt file.
            None leaves the choice to `roles`.
        encoding: Encoding of CSV files, and of .txt files that are not UTF-8; UTF-16 is
            recognised.
        keep_chats: Whether to keep columns of chat messages, lists of {"role", "content"};
            otherwise they become texts with one message per line.

    Returns:
        All columns, in the order of the file, with one column per field of a record.

    Raises:
        MissingError: If the file does not exist; it is a FileNotFoundError.
        DataError: If a file has another format or encoding, or lacks the column; it is a
            ValueError.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "reviews.csv")
        ...     _ = file.write_text("review;stars\nlovely, really;5\n007;1\n")
        ...     read_texts(file).to_pydict()
        {'review': ['lovely, really', '007'], 'stars': [5, 1]}
    """
    files = _files(Path(path))
    suffix = suffix_of(files[0])
    is_many = suffix == TEXT_FILE and len(files) >= MANY_FILES
    if is_many or suffix == MARKDOWN:
        table = read_text_files(files, column or "text", encoding)
    else:
        table = _read_tables(files, column, encoding)
    table = with_own_names(without_structs(with_repeated_as_lists(table)))
    if not keep_chats:
        table = with_chats_as_text(table)
    if column is None:
        return table
    if column not in table.column_names:
        raise DataError(
            f"{path} has no column {column!r}; {near_names(column, table.column_names)}.",
            file=path,
            column=column,
            remedy="Give the name of the text column.",
        )
    return table


def _read_tables(files: list[Path], column: str | None, encoding: str) -> pa.Table:
    """Read files of tables, lines or records.

    If there are several, each row gets the folder of its file, and each line or record the file's
    name.
    """
    if len(files) == 1:
        return _read_file(files[0], column, encoding)
    records = _read_records(files)
    tables = records or [_read_file(file, column, encoding) for file in files]
    origins: dict[str, list[str | None]] = {}
    if records is not None or suffix_of(files[0]) in LINES:
        origins["file"] = [file.name for file in files]
    origins |= folder_columns(files)
    for name, values in origins.items():
        pairs = zip(tables, values, strict=True)
        tables = [_with_origin(table, name, value) for table, value in pairs]
    joined = _join(tables)
    notes = dict.fromkeys(note for table in tables for note in notes_of(table))
    if suffix_of(files[0]) == TEXT_FILE and not notes:
        lines = f"Each line of the {len(files)} files is read as a text"
        notes = [f"{lines}; with {MANY_FILES} files or more, each file would be one."]
    for note in notes:
        joined = with_note(joined, note)
    return joined


def _read_records(files: list[Path]) -> list[pa.Table] | None:
    """Return a table of one row for each .json file that holds a record, otherwise None."""
    if suffix_of(files[0]) != ".json":
        return None
    table = read_json_records(files)
    return None if table is None else [table.slice(i, 1) for i in range(len(files))]


def _with_origin(table: pa.Table, name: str, value: str | None) -> pa.Table:
    """Add a column with the same value in each row, unless there is one of this name."""
    if name in table.column_names:
        return table
    return table.append_column(name, pa.array([value] * len(table), pa.string()))


def _files(path: Path) -> list[Path]:
    """Return the file, or the files of a folder or glob, which must be of one type."""
    if path.is_file():
        found = [path]
    elif path.is_dir():
        found = files_of(path, SUFFIXES)
    else:
        found = readable(str(path), SUFFIXES)
    supported = f"Supported are {', '.join(SUFFIXES)}."
    if not found:
        exists = path.is_dir() or matching(str(path))
        problem = "holds no supported file" if exists else "does not exist"
        if path.parts[0] in ("http:", "https:"):
            supported = "Download the file first."
        remedy = _remedy_of_missing(path) or supported
        raise MissingError(f"{path} {problem}.", file=path, remedy=remedy)
    types = sorted({suffix_of(file) for file in found})
    if len(types) > 1:
        raise DataError(
            f"{path} holds files of several types: {', '.join(types)}.",
            file=path,
            remedy=f"Choose one type, such as {path}/*{types[0]}",
        )
    if types[0] not in SUFFIXES:
        remedy = "Unpack it first." if path.suffix.lower() in ARCHIVES else None
        raise DataError(
            f"{path} is a file of type {types[0] or 'unknown'}. {supported}",
            file=path,
            remedy=remedy,
        )
    return found


def _remedy_of_missing(path: Path) -> str | None:
    """Return where a file of a supported type may be instead, or None."""
    folder = path.parent
    if path.is_dir() or suffix_of(path) not in SUFFIXES or path.match("*[*?[]*"):
        return None
    if not folder.is_dir():
        return f"There is no folder {folder}."
    near = near_names(path.name, [file.name for file in folder.iterdir()])
    is_near = near.startswith("near")
    return f"In its folder, {near}." if is_near else "No file there has a similar name."


def _read_file(file: Path, column: str | None, encoding: str) -> pa.Table:
    try:
        table = _read(file, column, encoding)
        _ = table.column_names  # raises an error if they are not UTF-8
        table.validate(full=True)  # as it does for values
        return table
    except DataError as error:
        if error.file is not None:
            raise
        raise DataError(
            f"{file}: {error}", file=file, row=error.row, column=error.column
        ) from error
    except (pa.ArrowException, ValueError, OSError, RecursionError) as error:
        reason = first_line_of(error)
        if isinstance(error, UnicodeDecodeError) or "UTF8" in reason:
            raise DataError(
                f"{file} is not in UTF-8: {reason}.",
                file=file,
                remedy="Save it as UTF-8.",
            ) from error
        raise DataError(
            f"{file} cannot be read as a {suffix_of(file)} file: {reason}", file=file
        ) from error


def _read(file: Path, column: str | None, encoding: str) -> pa.Table:
    suffix = suffix_of(file)
    if suffix in DELIMITED:
        table = read_csv(file, column, encoding=encoding, missing=MISSING + NO_DATE)
        return _with_nulls(table, column)
    if suffix in JSON_LINES:
        return read_json_lines(file, column)
    if suffix == ".json":
        return read_json(file, column)
    if suffix in LINES:
        return read_lines(file, column or "text", encoding)
    if suffix in WORKBOOKS:
        return read_excel(file, MISSING)
    if suffix == ".parquet":
        return with_plain_types(_with_index_named(parquet.read_table(file)))
    return with_plain_types(_with_index_named(feather.read_table(file)))


def _with_index_named(table: pa.Table) -> pa.Table:
    """Call a stored index of pandas without a name what one in memory is called."""
    names = [INDEX if name == STORED_INDEX else name for name in table.column_names]
    is_free = INDEX not in table.column_names
    return table.rename_columns(names) if is_free else table


def _with_nulls(table: pa.Table, text_column: str | None) -> pa.Table:
    """Replace empty strings with nulls, except in the text column."""
    for i, field in enumerate(table.schema):
        if field.name == text_column or not pa.types.is_string(field.type):
            continue
        cells = table.column(i)
        missing = pa.scalar(None, pa.string())
        filled = pc.if_else(pc.equal(cells, ""), missing, cells)
        table = table.set_column(i, field.name, filled)
    return table


def _join(tables: Sequence[pa.Table]) -> pa.Table:
    """Concatenate tables; each column gets a type for all its values."""
    schema = common_schema([table.schema for table in tables])
    return pa.concat_tables(
        pa.Table.from_arrays(conforming_columns(table, schema), schema=schema)
        for table in tables
    )


def without_structs(table: pa.Table) -> pa.Table:
    """Replace a column of records with one column per field, named `column.field`.

    Lists of records with a name, label or value are replaced with lists of these.

    Example:
        >>> table = pa.table({"post": [{"title": "a", "votes": {"up": 3}}]})
        >>> without_structs(table).to_pydict()
        {'post.title': ['a'], 'post.votes.up': [3]}
    """
    while any(map(pa.types.is_struct, table.schema.types)):
        table = table.flatten()
    return _with_names_of_records(table)


def _with_names_of_records(table: pa.Table) -> pa.Table:
    """Replace lists of records with names, such as the labels of an issue, with their names."""
    for i, field in enumerate(table.schema):
        if not is_list(field.type) or not pa.types.is_struct(field.type.value_type):
            continue
        record = field.type.value_type
        if record.get_field_index("role") >= 0:
            continue  # messages of a chat, whose authors may have names
        named = [name for name in RECORD_NAMES if _is_text_field(record, name)]
        if named:
            names = pa.chunked_array(
                [_names_of(part, named[0]) for part in table.column(i).chunks],
                pa.list_(pa.string()),
            )
            table = table.set_column(i, field.name, names)
    return table


def _is_text_field(record: pa.StructType, name: str) -> bool:
    return record.get_field_index(name) >= 0 and is_text(record.field(name).type)


def _names_of(lists: pa.ListArray, name: str) -> pa.ListArray:
    """Return the names of the records in each list."""
    records = pc.list_flatten(lists)
    lengths = pc.fill_null(pc.list_value_length(lists), 0)
    ends = pc.cumulative_sum(lengths.cast(pa.int32()))
    starts = pa.concat_arrays([pa.array([0], pa.int32()), ends])
    names = pc.struct_field(records, name).cast(pa.string())
    return pa.ListArray.from_arrays(starts, names, mask=lists.is_null())


def drop_empty_texts(table: pa.Table) -> tuple[pa.Table, list[str]]:
    """Return the rows with a text, and the texts of the others: empty or a placeholder."""
    texts = pc.utf8_trim_whitespace(pc.fill_null(table["text"], ""))
    is_empty = pc.is_in(texts, pa.array(["", *PLACEHOLDERS], texts.type))
    return table.filter(pc.invert(is_empty)), texts.filter(is_empty).to_pylist()
