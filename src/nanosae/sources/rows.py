"""Rows of vectors that are read by row number, from any source.

`Rows` joins parts (arrays, and row groups of tables), each of which is opened when one of its rows
is requested. `opening.py` finds the parts and the vectors in them.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from nanosae.errors import DataError
from nanosae.sources.faults import Fault, naming
from nanosae.sources.metadata import Metadata

BLOCK_ROWS = 2**14  # rows converted at a time: 24 MB at width 384
SAMPLE_ROWS = 16  # rows at the start, middle and end that a fingerprint covers


class Reader(Protocol):
    """An open part."""

    def fill(self, rows: np.ndarray, out: np.ndarray) -> Fault | None:
        """Copy rows, given by ascending numbers in the part, to `out`; or return a fault."""
        ...


@dataclass(frozen=True)
class Part:
    """Consecutive rows that are opened together.

    Attributes:
        n_rows: Number of rows.
        open: Function that returns a reader of the vectors.
        indivisible: Whether reading one row costs as much as the whole part, as in a compressed row
            group.
        file: The file that contains the rows, or None for objects.
        first_row: Number of the first row in the file.
        delimited: Whether the file has one row per line after a header line.
    """

    n_rows: int
    open: Callable[[], Reader]
    indivisible: bool = False
    file: Path | None = None
    first_row: int = 0
    delimited: bool = False

    def place(self, row: int) -> str:
        """Describe the location of a row of the part."""
        number = self.first_row + row
        if self.file is None:
            return f"row {number} (0-based)"
        line = f"; line {number + 2} if no cell spans lines" if self.delimited else ""
        return f"{self.file.name}, row {number} (0-based{line})"


class Rows:
    """An opened source of vectors, made by `open_rows`. It can be shared by threads.

    Attributes:
        n_rows: Number of rows.
        width: Length of each vector.
        target_width: Length of the targets that follow each vector; 0 without targets.
        total_width: `width + target_width`.
        columns: Names of the vector columns, `[name]` for a list column, None without names.
        source: The path that was opened, None for objects.
        provenance: Provenance of the rows, as in the metadata of an SAE; empty if unknown.
        group_starts: First rows of the groups that are read as a whole, followed by `n_rows`; empty
            if rows can be read individually.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        width: int,
        *,
        columns: list[str] | None = None,
        metadata: Metadata | None = None,
        source: str | None = None,
        provenance: dict[str, Any] | None = None,
        targets: Rows | None = None,
    ) -> None:
        self.width = width
        self.target_width = 0 if targets is None else targets.width
        self.total_width = self.width + self.target_width
        self.columns = columns
        self.source = source
        self.provenance = {} if provenance is None else provenance
        self._parts = list(parts)
        sizes = [part.n_rows for part in parts]
        self._starts = np.cumsum([0, *sizes])
        self.n_rows = int(self._starts[-1])
        self.group_starts: list[int] = []
        if any(part.indivisible for part in parts):
            self.group_starts = self._starts.tolist()
        self._metadata = metadata
        self._targets = targets
        self._prefix = ""  # of messages: "target of " for targets
        self._lock = threading.Lock()
        self._open_part = -1
        self._reader: Reader | None = None

    def with_targets(self, targets: Rows) -> Rows:
        """Return these rows followed by their targets.

        Raises:
            DataError: If there are not as many targets as rows.
        """
        if targets.n_rows != self.n_rows:
            raise DataError(
                f"There are {targets.n_rows:,} targets for {self.n_rows:,} rows.",
                remedy="Give one target for each row.",
            )
        behind = Rows(targets._parts, targets.width, columns=targets.columns)
        behind._prefix = "target of "
        both = Rows(
            self._parts,
            self.width,
            columns=self.columns,
            metadata=self._metadata,
            source=self.source,
            provenance=self.provenance,
            targets=behind,
        )
        both.group_starts = sorted({*self.group_starts, *targets.group_starts})
        return both

    def metadata_batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the columns that are not vectors in row order; nothing if there are none."""
        if self._metadata is not None:
            yield from self._metadata.batches()

    def metadata(self) -> pa.Table | None:
        """Read the columns that are not vectors (texts, ids, labels); None if there are none."""
        if self._metadata is None:
            return None
        return pa.Table.from_batches(self._metadata.batches(), self._metadata.schema)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read consecutive rows.

        Args:
            start: First row, 0-based.
            stop: The row after the last one.

        Returns:
            A new array, (stop − start, total_width), float32, C-contiguous, finite.

        Raises:
            DataError: If a vector has another length, or a value is missing, not a number, NaN or
                infinite; it is a ValueError.
        """
        return self.take(np.arange(start, stop))

    def take(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Read the given rows, like `read`.

        Args:
            rows: Row numbers, ascending, (n,).
            out: Output array, (at least n, total_width), float32; None creates one.

        Returns:
            The rows, (n, total_width), float32, C-contiguous, finite.

        Raises:
            IndexError: If there is no such row.
        """
        if len(rows) and not 0 <= rows[0] <= rows[-1] < self.n_rows:
            raise IndexError(
                f"rows {rows[0]} to {rows[-1]} are requested of {self.n_rows:,}"
            )
        if out is None:
            out = np.empty((len(rows), self.total_width), np.float32)
        out = out[: len(rows)]
        vectors = out[:, : self.width]
        borders = np.searchsorted(rows, self._starts)
        with self._lock, np.errstate(all="ignore"):
            for part in np.flatnonzero(np.diff(borders)):
                for start in range(borders[part], borders[part + 1], BLOCK_ROWS):
                    stop = min(start + BLOCK_ROWS, borders[part + 1])
                    local = rows[start:stop] - self._starts[part]
                    self._fill(int(part), local, vectors[start:stop])
        if self._targets is not None:
            self._targets.take(rows, out[:, self.width :])
        return out

    def _fill(self, index: int, rows: np.ndarray, out: np.ndarray) -> None:
        """Copy rows of a part; only the most recent part is kept open."""
        part = self._parts[index]
        with naming(part.file):
            if self._reader is None or self._open_part != index:
                self._reader, self._open_part = part.open(), index
            fault = self._reader.fill(rows, out)
        if fault is not None:
            row = int(rows[fault.row])
            raise DataError(
                f"{self._prefix}{part.place(row)}{fault.problem}",
                file=part.file,
                row=part.first_row + row,
                column=fault.column,
                remedy=fault.remedy,
            )

    def blocks(self, size: int = 65536) -> Iterator[np.ndarray]:
        """Yield all rows in order, at most `size` at a time."""
        for start in range(0, self.n_rows, size):
            yield self.read(start, min(start + size, self.n_rows))

    def fingerprint(self) -> str:
        """Hash the shape and 16 rows at the start, middle and end, independently of the format."""
        middle, end = self.n_rows // 2, self.n_rows - SAMPLE_ROWS
        starts = np.array([[0], [middle], [end]])
        sample = starts + np.arange(SAMPLE_ROWS)
        rows = np.unique(sample.clip(0, self.n_rows - 1))
        values = self.take(rows) + np.float32(0)  # −0 becomes 0
        shape = f"{self.n_rows},{self.total_width}:"
        return hashlib.sha256(shape.encode() + values.tobytes()).hexdigest()

    def digest(self, values: Iterable[np.ndarray] | None = None) -> str:
        """Hash the shape and all values, independently of the format.

        Args:
            values: Blocks of rows to hash; None reads all rows.
        """
        digest = hashlib.sha256(self.fingerprint().encode())
        for block in self.blocks(BLOCK_ROWS) if values is None else values:
            # −0 becomes 0
            digest.update((block + np.float32(0)).data)
        return digest.hexdigest()
