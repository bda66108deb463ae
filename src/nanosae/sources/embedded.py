"""Vectors in a table of texts: in a column of lists, as text, or in numbered columns."""

from __future__ import annotations

from shlex import quote
from typing import Any

import numpy as np
import pyarrow as pa

from nanosae.errors import DataError
from nanosae.sources.categories import Column
from nanosae.sources.detection import longest_runs
from nanosae.sources.kinds import is_vector, pc
from nanosae.sources.opening import open_rows
from nanosae.sources.vector_text import with_vectors_parsed

MIN_LIST = 8  # shorter lists of numbers may be coordinates
MIN_RUN = 16  # fewer numbered columns may be the questions of a survey


def take_vectors(
    table: pa.Table, given: Any, embedder: Any
) -> tuple[pa.Table, np.ndarray | None, list[Column]]:
    """Return the table without vectors, the rows to train on, and the role of their columns."""
    table = with_vectors_parsed(table)
    is_column = isinstance(given, str) and given in table.column_names
    found = [given] if is_column else vector_columns_beside(table)
    others = table.drop_columns(found) if found else table
    if given is not None and not is_column:
        return others, _as_vectors(given, len(table)), []
    if not found:
        return others, None, []
    first, last = found[0], found[-1]
    name = first if first == last else f"{first} to {last}"
    if embedder is not None:
        reason = "vectors; the texts are embedded instead, as requested"
        return others, None, [Column(name, "unused", reason)]
    rows = read_vectors(table, found)
    reason = (
        f"{rows.shape[1]} dimensions; give embedder=NAME (--embedder NAME) to embed the texts "
        "instead"
    )
    return others, rows, [Column(name, "vectors", reason)]


def vector_columns_beside(table: pa.Table) -> list[str]:
    """Return the vector columns of a table of texts, or an empty list.

    Args:
        table: Texts and other columns, with vectors as text already parsed.

    Raises:
        DataError: If several columns could be the vectors.
    """
    candidates = [[field.name] for field in table.schema if _is_embedding(table, field)]
    candidates += [
        run for run in longest_runs(table.schema) if _are_fractions(table, run)
    ]
    if len(candidates) > 1:
        names = [candidate[0] for candidate in candidates]
        raise DataError(
            f"Which are the vectors: {' or '.join(names)}?",
            remedy=f"Choose one: vectors={names[0]!r} (--vectors {quote(names[0])}).",
        )
    return candidates[0] if candidates else []


def read_vectors(table: pa.Table, columns: list[str]) -> np.ndarray:
    """Read the vectors in columns of a table, (n, width) float32."""
    rows = open_rows(table.select(columns), columns=columns)
    return rows.read(0, rows.n_rows)


def _is_embedding(table: pa.Table, field: pa.Field) -> bool:
    if not is_vector(field.type) or not pa.types.is_floating(field.type.value_type):
        return False
    first_length = pc.first(pc.list_value_length(table[field.name])).as_py()
    return first_length is not None and first_length >= MIN_LIST


def _are_fractions(table: pa.Table, names: list[str]) -> bool:
    """Return whether a long run of numbered columns holds fractions, not integers with gaps."""
    kinds = [table.schema.field(name).type for name in names]
    if len(names) < MIN_RUN or not all(map(pa.types.is_floating, kinds)):
        return False
    return not all(_is_whole(table[name]) for name in names)


def _is_whole(values: pa.ChunkedArray) -> bool:
    """Return whether all numbers are whole, like survey answers with missing values."""
    return pc.all(pc.equal(values, pc.floor(values))).as_py() is not False


def _as_vectors(vectors: Any, n_rows: int) -> np.ndarray:
    rows = open_rows(vectors)
    if rows.n_rows != n_rows:
        raise DataError(
            f"{rows.n_rows:,} vectors for {n_rows:,} rows: give one vector per row."
        )
    return rows.read(0, rows.n_rows)
