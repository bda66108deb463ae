"""Vectors written as text in cells: "[0.1, 0.2]" or "[0.1 0.2]"."""

from __future__ import annotations

import re

import pyarrow as pa

from nanosae.errors import DataError
from nanosae.sources.kinds import is_text, pc

NUMBER = r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?"
VECTOR_CELL = re.compile(rf"\s*\[\s*{NUMBER}(\s*[,\s]\s*{NUMBER})+\s*,?\s*\]\s*", re.I)


def with_vectors_parsed(table: pa.Table) -> pa.Table:
    """Convert columns of vectors as text to columns of lists of numbers.

    Raises:
        DataError: If a cell of such a column is not a vector; the message names its row.

    Example:
        >>> table = pa.table({"vector": ["[1, 2.5]", "[3, 4]"], "text": ["[x]", "y"]})
        >>> with_vectors_parsed(table).to_pydict()
        {'vector': [[1.0, 2.5], [3.0, 4.0]], 'text': ['[x]', 'y']}
    """
    for i, field in enumerate(table.schema):
        column = table.column(i)
        if _holds_vectors(column):
            table = table.set_column(i, field.name, _parse(column, field.name))
    return table


def _holds_vectors(column: pa.ChunkedArray) -> bool:
    """Return whether the first non-empty cell is a vector."""
    if not is_text(column.type):
        return False
    for cell in column:
        if cell.as_py():
            return VECTOR_CELL.fullmatch(cell.as_py()) is not None
    return False


def _parse(column: pa.ChunkedArray, name: str) -> pa.Array:
    cells = column.cast(pa.string()).combine_chunks()
    inner = pc.utf8_trim(cells, characters="[], \n\t")
    numbers = pc.replace_substring_regex(inner, r"[,\s]+", ",")
    try:
        return pc.split_pattern(numbers, ",").cast(pa.list_(pa.float32()))
    except pa.ArrowInvalid as error:
        raise _not_a_vector(column, name) from error


def _not_a_vector(column: pa.ChunkedArray, name: str) -> DataError:
    """Return the error for the first cell that is not a vector."""
    for row, cell in enumerate(column.to_pylist()):
        if cell is None or VECTOR_CELL.fullmatch(cell) is None:
            return DataError(
                f"row {row} (0-based), column {name} holds {cell!r:.40}, which is not a vector.",
                row=row,
                column=name,
                remedy="Correct it or drop the row.",
            )
    return DataError(f"column {name} holds a cell that is not a vector.", column=name)
