"""Checked blocks of rows to write to a corpus: activations, metadata and embeddings."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from nanosae.errors import DataError


class Block(NamedTuple):
    """Rows to write.

    Args:
        rows: Their activations, csr_array (n, n_features).
        table: Their metadata, or None.
        vectors: Their embeddings, (n, input_size), or None.
    """

    rows: Any
    table: pa.Table | None
    vectors: np.ndarray | None

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.rows.shape[0]

    @property
    def nbytes(self) -> int:
        """Approximate number of bytes that the block takes on disk."""
        n_bytes = 8 * self.rows.nnz
        if self.table is not None:
            n_bytes += self.table.nbytes
        if self.vectors is not None:
            n_bytes += self.vectors.nbytes
        return n_bytes

    def check_lengths(self) -> None:
        """Raise a DataError if the parts differ in their number of rows."""
        for what, given in (("table", self.table), ("vectors", self.vectors)):
            if given is not None and len(given) != self.n_rows:
                raise DataError(
                    f"{what}: {len(given)} rows, but the block has {self.n_rows}."
                )

    def part(self, start: int, stop: int) -> Block:
        """Return the rows start ≤ i < stop; arrays that the caller may change are copied."""
        table, vectors = self.table, self.vectors
        if table is not None:
            table = table[start:stop]
        if vectors is not None:
            vectors = np.array(vectors[start:stop], np.float32)
        return Block(self.rows[start:stop], table, vectors)


def as_rows(block: Any, n_features: int) -> Any:
    """Return a block as a canonical csr_array: sorted, without duplicates and zeros.

    Args:
        block: A sparse array, (n, n_features), or the flat triple `(values, cols, row_ptr)`.
        n_features: Required width.

    Raises:
        DataError: If it is neither, or an activation is negative or not finite.
    """
    try:
        if isinstance(block, tuple):
            *_, row_ptr = block
            block = sp.csr_array(block, shape=(len(row_ptr) - 1, n_features))
        rows: Any = sp.csr_array(block, dtype=np.float32, copy=True)
        rows.check_format()
    except ValueError as error:
        raise DataError(
            f"the rows are not a sparse array of {n_features} features: {error}"
        ) from error
    if rows.shape[1] != n_features:
        raise DataError(
            f"the rows have {rows.shape[1]} features, the corpus {n_features}."
        )
    rows.sum_duplicates()
    rows.eliminate_zeros()
    is_finite = np.isfinite(rows.data).all()
    if not is_finite or rows.data.min(initial=0) < 0:
        raise DataError("activations must be finite and non-negative.")
    return rows


def as_vectors(vectors: Any) -> np.ndarray:
    """Return embeddings as a finite float32 array, (n, input_size).

    Raises:
        DataError: If that is impossible.
    """
    try:
        rows = np.asarray(vectors, np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"vectors are not an array of numbers: {error}.") from error
    if rows.ndim != 2:
        raise DataError(f"vectors are {rows.shape}; needed: (n, input_size).")
    if not np.isfinite(rows).all():
        raise DataError("vectors must be finite.")
    return rows
