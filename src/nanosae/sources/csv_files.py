"""Tables from CSV and TSV files of any dialect, read as a whole or, if large, in blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from csv import Error as CsvError
from csv import reader as csv_rows
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv

from nanosae.errors import DataError
from nanosae.sources.column_names import numbered_names
from nanosae.sources.dialects import (
    SNIFFED_BYTES,
    Dialect,
    cells_up_to,
    find_dialect,
    not_decoded,
)
from nanosae.sources.folders import open_stream
from nanosae.sources.kinds import exceeds_integers, is_number, is_text, pc
from nanosae.sources.notes import with_note
from nanosae.sources.tables import LazyTable, table_in_memory
from nanosae.sources.vector_text import with_vectors_parsed

DELIMITED = (".csv", ".tsv", ".tab")
LARGE = 2**30  # bytes from which a file is read in blocks
BLOCK_BYTES = 2**24
PADDED = r"^\s*[-+]?0\d+\s*$"  # 00501 is a code, not a number
LONG = r"^\s*[-+]?\d{19,}\s*$"  # too many digits for an integer
# a backslash that is neither before a quotation mark, a backslash nor a line break
OTHER_ESCAPE = re.compile(r'(?<!\\)(?:\\\\)*\\[^"\\\r\n]')
ZERO_AND_DIGIT = re.compile(
    rb"0\d(?<=[^\d.]..)"
)  # fast, because it begins with the zero
MOST_REPEATS = 1000  # limit of Arrow's regular expressions
WHOLE_BLOCK_BYTES = 2**26  # a row must fit into a block


def read_csv(
    path: Path,
    text_column: str | None = None,
    *,
    encoding: str = "utf-8",
    missing: Sequence[str] = ("",),
    delimiter: str | None = None,
    has_header: bool | None = None,
) -> pa.Table:
    """Read a whole file, which may be compressed.

    Args:
        path: The file.
        text_column: A column to read verbatim; the types of the others are inferred.
        encoding: Encoding of the file.
        missing: Cells that stand for missing numbers and dates.
        delimiter: The delimiter, if known.
        has_header: Whether the first row names the columns, if known.
    """
    dialect = _dialect(path, encoding, delimiter, has_header)
    text_columns = [] if text_column is None else [text_column]
    return _read_whole(path, dialect, text_columns, missing)


def open_csv(path: Path) -> LazyTable:
    """Open a file as a table of vectors and other columns."""
    if path.stat().st_size > LARGE:
        return _open_large(path)
    dialect = _dialect(path, "utf-8")
    table = _read_whole(path, dialect, text_columns=[], missing=("",))
    _check_header(path, table.schema, dialect)
    return table_in_memory(with_vectors_parsed(table))


def _check_header(path: Path, schema: pa.Schema, dialect: Dialect) -> None:
    """Raise a DataError for columns without names, unless all have one numeric type (vectors)."""
    kinds = {field.type for field in schema}
    if dialect.has_header or kinds in ({pa.float64()}, {pa.int64()}):
        return
    raise DataError(
        "the header line seems to be missing: the first line holds values.",
        file=path,
        remedy="Add one; without a header, a file can only hold vectors.",
    )


def _read_whole(
    path: Path, dialect: Dialect, text_columns: Sequence[str], missing: Sequence[str]
) -> pa.Table:
    # "n/a" in a column of numbers is reported as a bad cell unless it is in `missing`
    convert = csv.ConvertOptions(
        null_values=list(missing),
        column_types=dict.fromkeys(text_columns, pa.string()),
        decimal_point=dialect.decimal_point,
    )
    table = _read_quoted(path, dialect, convert)
    _check_encoding(table.schema, path, dialect)
    if not dialect.n_title_rows:
        return table
    n_lines = dialect.n_title_rows
    lines = "line" if n_lines == 1 else "lines"
    return with_note(table, f"Skipped {n_lines} {lines} above the header.")


def _read_quoted(path: Path, dialect: Dialect, convert: csv.ConvertOptions) -> pa.Table:
    """Read a file with quoted cells; treat quotation marks as letters if some are not closed."""
    try:
        table = _read_typed(path, dialect, _parse_options(dialect), convert)
    except pa.ArrowInvalid as error:
        if _are_escaped(path, dialect):
            return _read_typed(path, dialect, _parse_options(dialect, "\\"), convert)
        loose = _with_loose_quotes(path, dialect, convert)
        if loose is None:
            raise (_uneven_row(path, dialect) or error) from error
        return loose
    if _is_in_a_cell('\\"', table) and _are_escaped(path, dialect):
        return _read_typed(path, dialect, _parse_options(dialect, "\\"), convert)
    has_line_breaks = _is_in_a_cell("\n", table)
    line = _line_of_unclosed_quote(path, dialect) if has_line_breaks else None
    if line is None and not _holds_rows_in_cells(table, dialect.delimiter):
        return table
    loose = _with_loose_quotes(path, dialect, convert)
    if loose is not None and (line is not None or _have_numbers_alike(loose, table)):
        return loose
    if line is None:
        return table
    return with_note(
        table,
        f"Line {line}: a cell goes on after its closing quotation mark, so an earlier mark may not "
        "be closed and several rows read as one. Close each mark, and double those in cells.",
    )


def _have_numbers_alike(loose: pa.Table, table: pa.Table) -> bool:
    """Return whether columns of numbers are the same in both: lines of a letter are no rows."""
    kinds = table.schema.types
    return loose.schema.types == kinds and any(map(is_number, kinds))


def _text_columns(table: pa.Table) -> list[pa.ChunkedArray]:
    return [column for column in table.columns if is_text(column.type)]


def _read_typed(
    path: Path, dialect: Dialect, parse: csv.ParseOptions, convert: csv.ConvertOptions
) -> pa.Table:
    """Read a file; columns of numbers are text if they would lose digits, as 007 would."""
    read = _read_options(dialect, WHOLE_BLOCK_BYTES)
    with open_stream(path) as stream:
        table = csv.read_csv(stream, read, parse, convert)
    has_padded = _may_have_padded(path, dialect)
    places = []
    for place, column in enumerate(table.columns):
        if exceeds_integers(column) or (has_padded and is_number(column.type)):
            places.append(place)
    if not places:
        return table
    read.column_names = numbered = numbered_names(len(dialect.names))
    names = [numbered[place] for place in places]
    as_text = csv.ConvertOptions(
        null_values=convert.null_values,
        column_types=dict.fromkeys(names, pa.string()),
        include_columns=names,
    )
    with open_stream(path) as stream:
        written = csv.read_csv(stream, read, parse, as_text)
    for place, cells in zip(places, written.columns, strict=True):
        if _lose_digits(cells, table.schema.field(place).type):
            table = table.set_column(place, dialect.names[place], cells)
    return table


def _may_have_padded(path: Path, dialect: Dialect) -> bool:
    """Return whether a cell may begin with zero and another digit."""
    if "0".encode(dialect.encoding) != b"0":
        return True
    with open_stream(path) as stream:
        end = b""
        while block := stream.read(BLOCK_BYTES):
            if ZERO_AND_DIGIT.search(end + block):
                return True
            end = block[-2:]
    return False


def _lose_digits(cells: pa.Array | pa.ChunkedArray, kind: pa.DataType) -> bool:
    """Return whether cells, given as text, lose digits as numbers of a type."""
    code = f"{PADDED}|{LONG}" if pa.types.is_floating(kind) else PADDED
    return pc.any(pc.match_substring_regex(cells, code)).as_py() or False


def _is_in_a_cell(letters: str, table: pa.Table) -> bool:
    return any(
        pc.any(pc.match_substring(column, letters)).as_py()
        for column in _text_columns(table)
    )


def _has_closed_quotes(table: pa.Table) -> bool:
    """Return whether a cell ends with a quotation mark."""
    return any(
        pc.any(pc.ends_with(cells, '"')).as_py() for cells in _text_columns(table)
    )


def _are_escaped(path: Path, dialect: Dialect) -> bool:
    """Return whether quotation marks in cells have a backslash before them, as in MySQL.

    If there are backslashes before other letters, these would be lost.
    """
    if _is_well_formed(path, dialect, None):
        return False
    with _lines_of(path, dialect) as lines:
        if any(map(OTHER_ESCAPE.search, lines)):
            return False
    return _is_well_formed(path, dialect, "\\")


def _is_well_formed(path: Path, dialect: Dialect, escape: str | None) -> bool:
    """Return whether all quoted cells end at a delimiter, and all rows have all columns."""
    lengths = (0, len(dialect.names))
    with _rows_of(path, dialect, strict=True, escape=escape) as rows:
        try:
            return all(len(row) in lengths for row in rows)
        except CsvError:
            return False


@contextmanager
def _lines_of(path: Path, dialect: Dialect) -> Iterator[Iterator[str]]:
    """Open the lines below the header, with their ends."""
    with open_stream(path) as binary:
        stream = TextIOWrapper(binary, dialect.encoding, errors="replace", newline="")
        yield islice(stream, dialect.skipped_lines, None)


@contextmanager
def _rows_of(
    path: Path, dialect: Dialect, *, strict: bool = False, escape: str | None = None
) -> Iterator[Any]:
    """Read rows with the csv module, which counts lines and, if strict, checks quotes."""
    with _lines_of(path, dialect) as lines, cells_up_to(WHOLE_BLOCK_BYTES):
        options: Any = {"strict": strict, "escapechar": escape}
        yield csv_rows(lines, delimiter=dialect.delimiter, **options)


def _uneven_row(path: Path, dialect: Dialect) -> DataError | None:
    """Return the error for the first row that has more or fewer cells than there are columns."""
    n_columns = len(dialect.names)
    with _rows_of(path, dialect) as rows:
        first_line = dialect.skipped_lines + 1
        for row in rows:
            if row and len(row) != n_columns:
                return DataError(
                    f"{path}, line {first_line}: Expected {n_columns} columns, got {len(row)}.",
                    file=path,
                    remedy=f"Quote cells that contain the delimiter {dialect.delimiter!r}.",
                )
            first_line = dialect.skipped_lines + rows.line_num + 1
    return None


def _line_of_unclosed_quote(path: Path, dialect: Dialect) -> int | None:
    """Return the first line before which a quotation mark is likely not closed, or None.

    There, a quoted cell of several lines goes on after its closing quotation mark, which is then
    the opening one of another cell; or the file ends within a quoted cell.
    """
    with _rows_of(path, dialect, strict=True) as rows:
        while True:
            first_line = rows.line_num + 1
            try:
                next(rows)
            except StopIteration:
                return None
            except CsvError:
                if rows.line_num > first_line:
                    return rows.line_num + dialect.skipped_lines


def _holds_rows_in_cells(table: pa.Table, delimiter: str) -> bool:
    """Return whether a cell contains further rows, as after an unclosed quotation mark."""
    n_others = table.num_columns - 1
    if not 0 < n_others <= MOST_REPEATS:
        return False
    sign = re.escape(delimiter)
    row = rf"\n[^\n{sign}]*(?:{sign}[^\n{sign}]*){{{n_others}}}"
    return any(
        pc.any(pc.match_substring_regex(column, row)).as_py()
        for column in _text_columns(table)
    )


def _with_loose_quotes(
    path: Path, dialect: Dialect, convert: csv.ConvertOptions
) -> pa.Table | None:
    """Read a file whose quotation marks are letters; return None if its lines are not rows."""
    options = csv.ParseOptions(delimiter=dialect.delimiter, quote_char=False)
    try:
        table = _read_typed(path, dialect, options, convert)
    except pa.ArrowInvalid:
        return None
    if table.num_columns == 1 and _has_closed_quotes(table):
        return None  # every line would be a row
    for place, column in enumerate(table.columns):
        if is_text(column.type):
            cells = pc.replace_substring_regex(column, r'^"(.*)"$', r"\1")
            table = table.set_column(place, table.column_names[place], cells)
    return with_note(
        table, "Some quotation marks are not closed, so all were read as letters."
    )


def _dialect(
    path: Path,
    encoding: str,
    delimiter: str | None = None,
    has_header: bool | None = None,
) -> Dialect:
    with open_stream(path) as stream:
        head = stream.read(SNIFFED_BYTES)
    is_tabbed = DELIMITED[1] in path.suffixes or DELIMITED[2] in path.suffixes
    if delimiter is None and is_tabbed:
        delimiter = "\t"
    return find_dialect(head, path, encoding, delimiter, has_header)


def _read_options(dialect: Dialect, block_size: int) -> csv.ReadOptions:
    return csv.ReadOptions(
        encoding=dialect.encoding,
        column_names=dialect.names,
        skip_rows=dialect.skipped_lines,
        block_size=block_size,
    )


def _parse_options(dialect: Dialect, escape: str | None = None) -> csv.ParseOptions:
    options: Any = {"escape_char": escape or False}
    return csv.ParseOptions(
        delimiter=dialect.delimiter, newlines_in_values=True, **options
    )


def _open_large(path: Path) -> LazyTable:
    """Return a table that is read from the start each time, all cells as text at first."""
    dialect = _dialect(path, "utf-8")
    options = _read_options(dialect, BLOCK_BYTES)
    parse = _parse_options(dialect)
    with csv.open_csv(path, options, parse) as first:
        inferred = first.schema
    _check_encoding(inferred, path, dialect)
    _check_header(path, inferred, dialect)

    kinds = {}
    for field in inferred:
        kinds[field.name] = pa.string() if pa.types.is_null(field.type) else field.type

    def read_group(_: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        # integers may be followed by fractions or bad cells, so all cells are read as text and
        # converted later, where the row of a bad cell is known
        as_text = dict.fromkeys(columns, pa.string())
        convert = csv.ConvertOptions(
            null_values=[""],
            column_types=as_text,
            include_columns=columns,
        )
        for batch in csv.open_csv(path, options, parse, convert):
            yield _with_missing_cells(batch, kinds)

    undecided = [name for name, kind in kinds.items() if _may_change(kind)]
    n_rows = 0
    for batch in read_group(0, undecided or inferred.names[:1]):
        n_rows += len(batch)
        for name in undecided:
            kinds[name] = _wide_enough(kinds[name], batch.column(name))
    return LazyTable(pa.schema(kinds), [n_rows], read_group, indivisible=True)


def _may_change(kind: pa.DataType) -> bool:
    """Return whether a type of the first block need not be that of the whole column."""
    # a word among fractions is a bad cell, which is reported with its row
    return not (is_text(kind) or pa.types.is_floating(kind))


def _with_missing_cells(
    batch: pa.RecordBatch, kinds: dict[str, pa.DataType]
) -> pa.RecordBatch:
    """Return a batch of text in which cells for other types have no spaces and may be missing."""
    columns = []
    for field, cells in zip(batch.schema, batch.columns, strict=True):
        if not is_text(kinds[field.name]):
            cells = pc.utf8_trim_whitespace(cells)
            cells = pc.if_else(pc.equal(cells, ""), pa.scalar(None, pa.string()), cells)
        columns.append(cells)
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def _wide_enough(kind: pa.DataType, cells: pa.Array) -> pa.DataType:
    """Return a type that holds further cells, which are given as text."""
    wider = [pa.float64()] if pa.types.is_integer(kind) else []
    for candidate in [kind, *wider]:
        try:
            cells.cast(candidate)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
        if not (is_number(candidate) and _lose_digits(cells, candidate)):
            return candidate
    return pa.string()


def _check_encoding(schema: pa.Schema, path: Path, dialect: Dialect) -> None:
    """Raise a DataError for text that is not UTF-8, which Arrow reads as bytes."""
    for field in schema:
        if pa.types.is_binary(field.type):
            raise not_decoded(path, dialect.encoding, field.name)
