"""Quotation marks in delimited files that are not closed, or that a backslash precedes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from csv import Error as CsvError
from csv import reader as csv_rows
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any

from nanosae.errors import DataError
from nanosae.sources.dialects import Dialect, cells_up_to
from nanosae.sources.folders import open_stream

# a backslash that is neither before a quotation mark, a backslash nor a line break
OTHER_ESCAPE = re.compile(r'(?<!\\)(?:\\\\)*\\[^"\\\r\n]')
UNCLOSED = (
    "a cell goes on after its closing quotation mark, so an earlier mark may not be closed and "
    "several rows read as one."
)
CLOSE = "Close each mark, and double those in cells."
WHOLE_BLOCK_BYTES = 2**26  # a row must fit into a block


def are_escaped(path: Path, dialect: Dialect) -> bool:
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


def uneven_row(path: Path, dialect: Dialect) -> DataError | None:
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


def line_of_unclosed_quote(path: Path, dialect: Dialect) -> int | None:
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
