"""The dialect of a delimited file, detected from its beginning: delimiter, header, decimal point.

The encoding is never guessed, except from a byte order mark, or the zeros of UTF-16.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import StringIO
from itertools import islice, zip_longest
from operator import itemgetter
from pathlib import Path

from nanosae.errors import DataError
from nanosae.sources.column_names import numbered_names
from nanosae.sources.header_rows import joined_names, recurs_below

SNIFFED_BYTES = 2**17
SNIFFED_ROWS = 50
DELIMITERS = ",;\t|"
HEADER_WORDS = 8  # maximum number of words in a header cell
HEADER_CHARACTERS = 80
MIN_TABLE_ROWS = 5  # minimum number of rows below a title
ZERO_SHARE = 0.02  # minimum share of zeros among every second byte of UTF-16

NUMBER = re.compile(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)(e[-+]?\d+)?|nan|-?inf", re.I)
DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]|$)|\d{1,2}[./]\d{1,2}[./]\d{2,4}\b")
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+")
DECIMAL_POINT = re.compile(r"[-+]?\d+\.\d+")
GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}(\.\d{3})+")  # thousands with points
BELOW_THOUSAND = re.compile(r"[-+]?\d{1,3}")
EXCEL_HINT = re.compile(r'"?sep=(.)"?\r?$')


@dataclass(frozen=True)
class Dialect:
    """The dialect of a delimited file.

    Attributes:
        encoding: A Python codec.
        delimiter: Delimiter between cells.
        decimal_point: "." or ",".
        names: Names of the columns, from the header or generated.
        has_header: Whether there is a header.
        skipped_lines: Number of lines before the first row.
        n_title_rows: Number of rows above the header, such as the title of a report.
    """

    encoding: str
    delimiter: str
    decimal_point: str
    names: list[str]
    has_header: bool
    skipped_lines: int
    n_title_rows: int


def find_dialect(
    head: bytes,
    file: Path,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    has_header: bool | None = None,
) -> Dialect:
    r"""Detect the dialect of a file.

    Args:
        head: The first `SNIFFED_BYTES` bytes.
        file: The file, for error messages.
        encoding: The encoding, unless there is a byte order mark.
        delimiter: The delimiter, if known.
        has_header: Whether the first row names the columns, if known.

    Raises:
        DataError: If the file is empty or has another encoding.

    Example:
        >>> dialect = find_dialect(b"zip;price\n01234;1,5\n", Path("a.csv"))
        >>> dialect.delimiter, dialect.decimal_point, dialect.names
        (';', ',', ['zip', 'price'])
    """
    encoding = _marked_encoding(head) or encoding
    is_whole = len(head) < SNIFFED_BYTES
    lines = decode(head, file, encoding, is_whole=is_whole)
    if not is_whole:
        # the last line may be truncated
        lines = lines[: lines.rfind("\n") + 1] or lines
    if not lines.strip():
        raise DataError(f"{file} is empty.", file=file)
    hint = EXCEL_HINT.match(lines.partition("\n")[0])
    if hint is not None:
        delimiter = hint.group(1)
        lines = lines.partition("\n")[2]
    if delimiter is None:
        delimiter = _delimiter(lines)
    rows = _with_last_name(_rows(lines, delimiter))
    n_title_rows = _n_title_rows(rows)
    rows = rows[n_title_rows:]
    if has_header is None:
        has_header = _has_header(rows)
    skipped_lines = 0 if hint is None else 1
    names, n_header_rows = _names(rows, has_header)
    names = [name.strip() for name in names]
    cells = rows[n_header_rows:]
    if has_header:
        n_above = n_title_rows + n_header_rows
        skipped_lines += _lines_of(lines, delimiter, n_above)
    return Dialect(
        encoding=encoding,
        delimiter=delimiter,
        decimal_point=_decimal_point(cells, delimiter),
        names=names,
        has_header=has_header,
        skipped_lines=skipped_lines,
        n_title_rows=n_title_rows,
    )


def _names(rows: list[list[str]], has_header: bool) -> tuple[list[str], int]:
    """Return the names of the columns and the number of header rows."""
    if not has_header:
        return numbered_names(len(rows[0])), 0
    return joined_names(rows) or (rows[0], 1)


def encoding_of(content: bytes, encoding: str) -> str:
    """Return the encoding of a whole text file, which can differ from that of others in its folder.

    UTF-16 is recognised by its byte order mark. Non-ASCII bytes that are valid UTF-8 are hardly
    ever anything else, so `encoding` only applies to files that are not valid UTF-8.
    """
    marked = _marked_encoding(content)
    if marked is None and not content.isascii():
        with suppress(UnicodeDecodeError):
            content.decode()
            return "utf-8"
    return marked or encoding


def decode(content: bytes, file: Path, encoding: str, *, is_whole: bool = True) -> str:
    """Decode the content of a file.

    Args:
        content: Bytes of the file.
        file: The file, for error messages.
        encoding: A Python codec.
        is_whole: Whether the last character must be complete.

    Raises:
        DataError: If the file has another encoding.
    """
    codec = "utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding
    try:
        return codecs.getincrementaldecoder(codec)().decode(content, is_whole)
    except UnicodeDecodeError as error:
        raise not_decoded(file, encoding) from error
    except LookupError as error:
        raise DataError(
            f"{encoding!r} is not a known encoding.",
            remedy="Common ones are utf-8, cp1252 and utf-16.",
        ) from error


def not_decoded(file: Path, encoding: str, column: str | None = None) -> DataError:
    """Return the error for a file, or a column of it, that has another encoding."""
    place = f"{file}" if column is None else f"{file}, column {column!r},"
    return DataError(
        f"{place} is not in {encoding.upper()}.",
        file=file,
        column=column,
        remedy="Files saved by Excel are often in cp1252 (Latin-1): use "
        'encoding="cp1252" (--encoding cp1252), or '
        "save the file as UTF-8.",
    )


def _marked_encoding(head: bytes) -> str | None:
    """Return the encoding of a byte order mark; UTF-16 also if many second bytes are zero."""
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    looked_at = head[:SNIFFED_BYTES]
    has_lines = b"\n" in looked_at
    first, second = looked_at[::2], looked_at[1::2]
    n_first, n_second = first.count(0), second.count(0)
    if n_second > ZERO_SHARE * len(second) and not n_first:
        is_wide = not has_lines or b"\n\0" in looked_at
        return "utf-16-le" if is_wide else None
    if n_first > ZERO_SHARE * len(first) and not n_second:
        is_wide = not has_lines or b"\0\n" in looked_at
        return "utf-16-be" if is_wide else None
    return None


@contextmanager
def cells_up_to(n_characters: int) -> Iterator[None]:
    """Let the csv module read cells of a length; its limit is shared by the whole process."""
    before = csv.field_size_limit(n_characters)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _lines_in(text: str) -> StringIO:
    """Iterate over lines as CSV has them: `str.splitlines` also ends them at U+2028 and others."""
    return StringIO(text, newline="")


def _rows(lines: str, delimiter: str) -> list[list[str]]:
    """Return the first non-empty rows."""
    reader = csv.reader(_lines_in(lines), delimiter=delimiter)
    filled = (row for row in reader if row)
    with cells_up_to(2 * SNIFFED_BYTES):
        return list(islice(filled, SNIFFED_ROWS))


def _delimiter(lines: str) -> str:
    """Return the delimiter that splits the first rows into the same number of cells.

    One that does so from the first row on is preferred: by another one, which every text has, the
    header would be a title.
    """
    found = []
    for delimiter in DELIMITERS:
        rows = _rows(lines, delimiter)
        n_titles = _n_title_rows(rows)
        table = rows[n_titles:]
        complete = table[:-1] or table  # the last one may be truncated
        widths = {len(row) for row in complete}
        n_cells = len(table[0])
        if len(widths) == 1 and n_cells > 1:
            found.append((n_titles, -n_cells, delimiter))
    _, _, delimiter = min(found, default=(0, 0, ","), key=itemgetter(0, 1))
    return delimiter


def _with_last_name(rows: list[list[str]]) -> list[list[str]]:
    """Give the header an empty last name if all other rows end with a delimiter, but not it.

    Example:
        >>> _with_last_name([["id", "text"], ["1", "a", ""], ["2", "b", ""]])[0]
        ['id', 'text', '']
    """
    header, *others = rows
    width = len(header) + 1
    have_empty_end = [len(row) == width and not row[-1] for row in others]
    if not others or not all(have_empty_end):
        return rows
    return [[*header, ""], *others]


def _n_title_rows(rows: Sequence[Sequence[str]]) -> int:
    """Return the number of rows above the header, which are shorter or mostly empty.

    They are followed by a table that begins with a header and whose rows have the same length. Rows
    of that length are no titles if a cell of the supposed header recurs below, as names do not.
    """
    if len(rows) < MIN_TABLE_ROWS:
        return 0
    width = len(rows[-2])  # the last one may be truncated
    n_filled = [sum(bool(cell.strip()) for cell in row) for row in rows]
    most_filled = max(n_filled)
    n_titles = 0
    for row, n_cells in zip(rows, n_filled, strict=True):
        if len(row) == width and 2 * n_cells > most_filled:
            break
        n_titles += 1
    titles, table = rows[:n_titles], rows[n_titles:]
    are_padded = any(len(row) == width for row in titles)
    widths = {len(row) for row in table[:-1]}
    is_table = len(table) >= MIN_TABLE_ROWS and len(widths) == 1
    if not is_table or not _has_header(table) or (are_padded and recurs_below(table)):
        return 0
    return n_titles


def _lines_of(lines: str, delimiter: str, n_rows: int) -> int:
    """Return the number of lines of the first rows, whose cells may contain line breaks."""
    reader = csv.reader(_lines_in(lines), delimiter=delimiter)
    filled = (row for row in reader if row)
    with cells_up_to(2 * SNIFFED_BYTES):
        for _ in islice(filled, n_rows):
            pass
    return reader.line_num


def _has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the first row names the columns."""
    first, others = rows[0], rows[1:]
    values = [cell for cell in first if _is_value(cell)]
    if values:
        return len(values) > 1 and _are_consecutive(values)
    columns = list(zip(*others, strict=False))
    if any(all(map(_is_value, column)) for column in columns):
        return True  # a name above a column of numbers or dates
    return not any(map(_is_long, first))


def _is_value(cell: str) -> bool:
    """Return whether a cell is a number or a date."""
    cell = cell.strip()
    return bool(NUMBER.fullmatch(cell) or DATE.match(cell))


def _are_consecutive(cells: Sequence[str]) -> bool:
    """Return whether cells are 0, 1, 2, … or 1, 2, 3, …, the default names of columns."""
    numbers = [cell.strip().removesuffix(".0") for cell in cells]
    n_cells = len(numbers)
    from_zero = [str(i) for i in range(n_cells)]
    from_one = [str(i + 1) for i in range(n_cells)]
    return numbers in (from_zero, from_one)


def _is_long(cell: str) -> bool:
    """Return whether a cell is too long for a name, which survey questions are not."""
    if cell.rstrip().endswith(("?", ":")):
        return False
    return len(cell.split()) > HEADER_WORDS or len(cell) > HEADER_CHARACTERS


def _decimal_point(rows: Sequence[Sequence[str]], delimiter: str) -> str:
    """Return "," if fractions have commas; "1,200" is an integer, except between semicolons.

    Points may then separate thousands, which they also do in a column of "1.200" and "95" between
    semicolons.
    """
    columns = [
        [cell.strip() for cell in column] for column in zip_longest(*rows, fillvalue="")
    ]
    cells = [cell for column in columns for cell in column]
    with_comma = [cell for cell in cells if DECIMAL_COMMA.fullmatch(cell)]
    with_point = [cell for cell in cells if DECIMAL_POINT.fullmatch(cell)]
    may_be_thousands = all(map(THOUSANDS.fullmatch, with_comma))
    if not with_point:
        is_decimal = with_comma and (delimiter == ";" or not may_be_thousands)
        return "," if is_decimal else "."
    if not all(map(GROUPED.fullmatch, with_point)):
        return "."
    if with_comma:
        return "." if may_be_thousands else ","
    return "," if delimiter == ";" and any(map(_has_thousands, columns)) else "."


def _has_thousands(cells: Sequence[str]) -> bool:
    """Return whether numbers have points from 1.000 on, and only these."""
    numbers = [cell for cell in cells if NUMBER.fullmatch(cell)]
    is_grouped = [GROUPED.fullmatch(number) is not None for number in numbers]
    others = [n for n, grouped in zip(numbers, is_grouped, strict=True) if not grouped]
    are_small = all(map(BELOW_THOUSAND.fullmatch, others))
    return any(is_grouped) and bool(others) and are_small
