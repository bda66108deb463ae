"""Vectors in a table of texts: in a column of lists, as text, or in numbered columns."""

from __future__ import annotations

from shlex import quote

import numpy as np
import pyarrow as pa

from nanosae.errors import DataError
from nanosae.sources.detection import longest_runs
from nanosae.sources.kinds import is_vector, pc
from nanosae.sources.opening import open_rows

MIN_LIST = 8  # shorter lists of numbers may be coordinates
MIN_RUN = 16  # fewer numbered columns may be the questions of a survey


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
