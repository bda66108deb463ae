"""Tables from CSV and TSV files of any dialect, read as a whole or, if large, in blocks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv

from nanosae.errors import DataError, counted
from nanosae.sources.column_names import numbered_names
from nanosae.sources.dialects import (
    SNIFFED_BYTES,
    Dialect,
    find_dialect,
    not_decoded,
)
from nanosae.sources.folders import open_stream
from nanosae.sources.kinds import exceeds_integers, is_number, is_text, pc
from nanosae.sources.notes import with_note
from nanosae.sources.quotes import (
    CLOSE,
    UNCLOSED,
    WHOLE_BLOCK_BYTES,
    are_escaped,
    line_of_unclosed_quote,
    uneven_row,
)
from nanosae.sources.tables import LazyTable, table_in_memory
from nanosae.sources.vector_text import with_vectors_parsed

DELIMITED = (".csv", ".tsv", ".tab")
LARGE = 2**30  # bytes from which a file is read in blocks
BLOCK_BYTES = 2**24
PADDED = r"^\s*[-+]?0\d+\s*$"  # 00501 is a code, not a number
PHONE = r"^\s*\+\d{7,}\s*$"  # +4915112345678 is one, too, unless others are negative
NEGATIVE = r"^\s*-\s*[\d.,]"
LONG = r"^\s*[-+]?\d{16,}(\.0*)?\s*$"  # too many digits for a float
# fast, because it begins with the zero
ZERO_AND_DIGIT = re.compile(rb"0\d(?<=[^\d.]..)")
PLUS_AND_DIGITS = re.compile(rb"\+\d{7}")
# whole numbers whose thousands may be separated by points
WHOLE = r"^[-+]?(?:[1-9]\d{0,2}(?:\.\d{3}){1,4}|\d{1,15})$"
ESCAPED_QUOTE = '\\"'
MOST_REPEATS = 1000  # limit of Arrow's regular expressions


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
    if dialect.decimal_point == ",":
        table = _with_thousands(table, text_columns, missing)
    if not dialect.n_title_rows:
        return table
    n_lines = counted(dialect.n_title_rows, "line")
    return with_note(table, f"Skipped {n_lines} above the header.")


def _with_thousands(
    table: pa.Table, text_columns: Sequence[str], missing: Sequence[str]
) -> pa.Table:
    """Read strings such as "1.200" and "95" as integers, where fractions have commas."""
    for place, field in enumerate(table.schema):
        if not is_text(field.type) or field.name in text_columns:
            continue
        cells = pc.utf8_trim_whitespace(table.column(place))
        is_missing = pc.is_in(cells, pa.array(["", *missing], field.type))
        numbers = pc.if_else(is_missing, pa.scalar(None, field.type), cells)
        are_whole = pc.all(pc.match_substring_regex(numbers, WHOLE)).as_py()
        if are_whole and _any_matches(numbers, r"\."):
            whole = pc.replace_substring_regex(numbers, "[.+]", "").cast(pa.int64())
            table = table.set_column(place, field.name, whole)
    return table


def _read_quoted(path: Path, dialect: Dialect, convert: csv.ConvertOptions) -> pa.Table:
    """Read a file with quoted cells; treat quotation marks as letters if some are not closed."""
    try:
        table = _read_typed(path, dialect, _parse_options(dialect), convert)
    except pa.ArrowInvalid as error:
        if are_escaped(path, dialect):
            return _read_typed(path, dialect, _parse_options(dialect, "\\"), convert)
        loose = _with_loose_quotes(path, dialect, convert)
        if loose is None:
            raise (uneven_row(path, dialect) or error) from error
        return loose
    if _holds(ESCAPED_QUOTE, table) and are_escaped(path, dialect):
        return _read_typed(path, dialect, _parse_options(dialect, "\\"), convert)
    has_line_breaks = _holds("\n", table)
    line = line_of_unclosed_quote(path, dialect) if has_line_breaks else None
    if line is None and not _holds_rows_in_cells(table, dialect.delimiter):
        return table
    loose = _with_loose_quotes(path, dialect, convert)
    if loose is not None and (line is not None or _have_numbers_alike(loose, table)):
        return loose
    if line is None:
        return table
    return with_note(table, f"Line {line}: {UNCLOSED} {CLOSE}")


def _have_numbers_alike(loose: pa.Table, table: pa.Table) -> bool:
    """Return whether columns of numbers are the same in both: lines of a letter are no rows."""
    kinds = table.schema.types
    return loose.schema.types == kinds and any(map(is_number, kinds))


def _read_typed(
    path: Path, dialect: Dialect, parse: csv.ParseOptions, convert: csv.ConvertOptions
) -> pa.Table:
    """Read a file; columns of numbers are text if they would lose digits, as 007 would."""
    read = _read_options(dialect, WHOLE_BLOCK_BYTES)
    with open_stream(path) as stream:
        table = csv.read_csv(stream, read, parse, convert)
    has_codes = _may_have_codes(path, dialect)
    places = []
    for place, column in enumerate(table.columns):
        if exceeds_integers(column) or (has_codes and is_number(column.type)):
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


def _may_have_codes(path: Path, dialect: Dialect) -> bool:
    """Return whether a cell may begin with zero and another digit, or with plus and digits."""
    if "0".encode(dialect.encoding) != b"0":
        return True
    with open_stream(path) as stream:
        end = b""
        while block := stream.read(BLOCK_BYTES):
            text = end + block
            if ZERO_AND_DIGIT.search(text) or PLUS_AND_DIGITS.search(text):
                return True
            end = block[-8:]
    return False


def _lose_digits(cells: pa.Array | pa.ChunkedArray, kind: pa.DataType) -> bool:
    """Return whether cells, given as text, lose digits or signs as numbers of a type."""
    code = f"{PADDED}|{LONG}" if pa.types.is_floating(kind) else PADDED
    if _any_matches(cells, code):
        return True
    return _any_matches(cells, PHONE) and not _any_matches(cells, NEGATIVE)


def _any_matches(cells: pa.Array | pa.ChunkedArray, pattern: str) -> bool:
    return pc.any(pc.match_substring_regex(cells, pattern)).as_py() or False


def _holds(
    pattern: str,
    table: pa.Table | pa.RecordBatch,
    test: Callable[[Any, str], Any] = pc.match_substring,
) -> bool:
    """Return whether a cell of text contains a pattern, or passes another test with it."""
    texts = (column for column in table.columns if is_text(column.type))
    return any(pc.any(test(column, pattern)).as_py() for column in texts)


def _holds_rows_in_cells(table: pa.Table, delimiter: str) -> bool:
    """Return whether a cell contains further rows, as after an unclosed quotation mark."""
    n_others = table.num_columns - 1
    if not 0 < n_others <= MOST_REPEATS:
        return False
    sign = re.escape(delimiter)
    row = rf"\n[^\n{sign}]*(?:{sign}[^\n{sign}]*){{{n_others}}}"
    return _holds(row, table, pc.match_substring_regex)


def _with_loose_quotes(
    path: Path, dialect: Dialect, convert: csv.ConvertOptions
) -> pa.Table | None:
    """Read a file whose quotation marks are letters; return None if its lines are not rows."""
    options = csv.ParseOptions(delimiter=dialect.delimiter, quote_char=False)
    try:
        table = _read_typed(path, dialect, options, convert)
    except pa.ArrowInvalid:
        return None
    if table.num_columns == 1 and _holds('"', table, pc.ends_with):
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


def _open_large(path: Path, escape: str | None = None) -> LazyTable:
    """Return a table that is read from the start each time, all cells as text at first."""
    dialect = _dialect(path, "utf-8")
    options = _read_options(dialect, BLOCK_BYTES)
    parse = _parse_options(dialect, escape)
    numbers = csv.ConvertOptions(decimal_point=dialect.decimal_point)
    with csv.open_csv(path, options, parse, numbers) as first:
        inferred = first.schema
    _check_encoding(inferred, path, dialect)
    _check_header(path, inferred, dialect)

    def cells_of(columns: list[str]) -> csv.CSVStreamingReader:
        # integers may be followed by fractions or bad cells, so all cells are read as text and
        # converted later, where the row of a bad cell is known
        convert = csv.ConvertOptions(
            null_values=[""],
            column_types=dict.fromkeys(columns, pa.string()),
            include_columns=columns,
        )
        return csv.open_csv(path, options, parse, convert)

    with cells_of(inferred.names) as written:
        kinds = _kinds(inferred, written.read_next_batch())

    def read_group(_: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        for batch in cells_of(columns):
            yield _with_plain_cells(batch, kinds, dialect.decimal_point)

    undecided = [name for name, kind in kinds.items() if _may_change(kind)]
    texts = [name for name, kind in kinds.items() if is_text(kind)]
    n_rows = 0
    has_line_breaks = has_escapes = False
    for batch in read_group(0, [*undecided, *texts] or inferred.names[:1]):
        n_rows += len(batch)
        for name in undecided:
            kinds[name] = _wide_enough(kinds[name], batch.column(name))
        has_line_breaks = has_line_breaks or _holds("\n", batch)
        has_escapes = has_escapes or _holds(ESCAPED_QUOTE, batch)
    if has_escapes and escape is None and are_escaped(path, dialect):
        return _open_large(path, "\\")
    if has_line_breaks and escape is None:
        _refuse_unclosed_quotes(path, dialect)
    return LazyTable(pa.schema(kinds), [n_rows], read_group, indivisible=True)


def _kinds(inferred: pa.Schema, first: pa.RecordBatch) -> dict[str, pa.DataType]:
    """Return the types of columns; those of codes are text, by the first cells as text."""
    kinds = {}
    for field, cells in zip(inferred, first.columns, strict=True):
        is_code = is_number(field.type) and _lose_digits(cells, field.type)
        is_unknown = pa.types.is_null(field.type)
        kinds[field.name] = pa.string() if is_code or is_unknown else field.type
    return kinds


def _may_change(kind: pa.DataType) -> bool:
    """Return whether a type of the first block need not be that of the whole column."""
    # a word among fractions is a bad cell, which is reported with its row
    return not (is_text(kind) or pa.types.is_floating(kind))


def _refuse_unclosed_quotes(path: Path, dialect: Dialect) -> None:
    """Raise a DataError if a quotation mark is likely not closed."""
    line = line_of_unclosed_quote(path, dialect)
    if line is not None:
        raise DataError(f"line {line}: {UNCLOSED}", file=path, remedy=CLOSE)


def _with_plain_cells(
    batch: pa.RecordBatch, kinds: dict[str, pa.DataType], decimal_point: str
) -> pa.RecordBatch:
    """Return a batch of text in which cells for other types can be converted, or are missing."""
    columns = []
    for field, cells in zip(batch.schema, batch.columns, strict=True):
        if not is_text(kinds[field.name]):
            cells = pc.utf8_trim_whitespace(cells)
            cells = pc.if_else(pc.equal(cells, ""), pa.scalar(None, pa.string()), cells)
        if is_number(kinds[field.name]) and decimal_point != ".":
            cells = pc.replace_substring(cells, decimal_point, ".")
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
