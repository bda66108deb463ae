"""Tables whose columns are read on demand, and vectors from Arrow batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from nanosae.sources.faults import Fault, find_not_finite
from nanosae.sources.kinds import is_vector, pc


@dataclass(frozen=True)
class LazyTable:
    """A table that is read by columns and groups of rows.

    Attributes:
        schema: Names and types of the columns.
        group_sizes: Number of rows in each group.
        read_group: Function from the number of a group and names of columns to Arrow batches.
        indivisible: Whether reading one row costs as much as the whole group.
        index: Names of the columns that were the index of a frame, and are no vectors.
    """

    schema: pa.Schema
    group_sizes: list[int]
    read_group: Callable[[int, list[str]], Iterable[pa.RecordBatch]]
    indivisible: bool = False
    index: tuple[str, ...] = ()

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Yield all rows of some columns."""
        for group, size in enumerate(self.group_sizes):
            if size:
                yield from self.read_group(group, columns)


def table_in_memory(table: pa.Table) -> LazyTable:
    """Wrap an Arrow table."""
    return LazyTable(
        schema=table.schema,
        group_sizes=[table.num_rows],
        read_group=lambda _, columns: table.select(columns).to_batches(),
    )


class BatchReader:
    """Reads vectors from successive batches, starting over to go back."""

    def __init__(
        self, open_batches: Callable[[], Iterable[pa.RecordBatch]], columns: list[str]
    ):
        self._open_batches = open_batches
        self._columns = columns
        self._batches: Iterator[pa.RecordBatch] | None = None
        self._batch: Any = None  # the current one
        self._start = self._stop = 0  # of the current batch's rows

    def fill(self, rows: np.ndarray, out: np.ndarray) -> Fault | None:
        """Copy ascending rows to `out`, (n, width), or return a fault."""
        batch = self._take(rows)
        for number, name in enumerate(self._columns):
            column = batch.column(number)
            if is_vector(column.type):
                fault = _copy_vectors(column, out)
            else:
                fault = _copy_numbers(column, name, out[:, number])
            if fault is not None:
                return fault
        return find_not_finite(out, self._columns)

    def _take(self, rows: np.ndarray) -> pa.RecordBatch:
        if self._batches is None or rows[0] < self._start:
            self._batches = iter(self._open_batches())
            self._start = self._stop = 0
        taken = []
        done = 0
        while done < len(rows):
            while self._batch is None or rows[done] >= self._stop:
                self._batch = next(self._batches)
                self._start = self._stop
                self._stop += len(self._batch)
            end = np.searchsorted(rows, self._stop)
            local = rows[done:end] - self._start
            taken.append(_take_from(self._batch, local))
            done += len(local)
        return pa.concat_batches(taken)


def _take_from(batch: pa.RecordBatch, rows: np.ndarray) -> pa.RecordBatch:
    first, n_rows = rows[0], len(rows)
    is_range = rows[-1] == first + n_rows - 1
    if is_range:
        return batch.slice(first, n_rows)
    return batch.take(pa.array(rows))


def _copy_numbers(column: pa.Array, name: str, out: np.ndarray) -> Fault | None:
    """Copy a column of numbers, or of text with numbers."""
    try:
        out[:] = column.cast(pa.float32(), safe=False)
    except pa.ArrowException:
        row, cell = _find_bad_cell(column)
        return Fault(
            row,
            f", column {name} holds {cell!r}, which is not a number.",
            "Correct it or drop the row.",
            column=name,
        )
    return None


def _find_bad_cell(column: pa.Array) -> tuple[int, object]:
    """Return the first cell that is not a number, of a column that has one, and its row."""
    first, n_cells = 0, len(column)
    while n_cells > 1:
        half = n_cells // 2
        try:
            column.slice(first, half).cast(pa.float32(), safe=False)
        except pa.ArrowException:
            n_cells = half
        else:
            first += half
            n_cells -= half
    return first, column[first].as_py()


def _copy_vectors(column: pa.Array, out: np.ndarray) -> Fault | None:
    """Copy a column of lists, which must all have the width of `out`."""
    width = out.shape[1]
    lengths = pc.list_value_length(column).to_pylist()
    for row, length in enumerate(lengths):
        if not length:
            return Fault(row, " has no vector.", "Drop the rows without one.")
        if length != width:
            problem = f" has a vector of length {length}, but row 0 one of {width}."
            return Fault(row, problem, "Fix or drop the rows of another length.")
    values = pc.list_flatten(column).to_numpy(zero_copy_only=False)
    out[:] = values.reshape(out.shape)
    return None
