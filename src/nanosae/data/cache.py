"""Conversion of slow formats (CSV, compressed files, large row groups) to memory-mapped shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from nanosae.atomic import make_folder, write_folder
from nanosae.data.blocks import small_blocks
from nanosae.errors import DataError, ExistsError, require_choice
from nanosae.progress import tracked
from nanosae.sources import Rows, open_rows
from nanosae.sources.files import CACHED_METADATA

SHARD_ROWS = 2**17
MAX_LOST = 0.01  # largest rounding error, in standard deviations of the rows


def cache(
    data: Any,
    output: str | Path,
    *,
    columns: Sequence[str] | None = None,
    dtype: Literal["float32", "float16"] = "float32",
) -> int:
    """Write rows to .npy shards in a new folder, with their metadata in Parquet.

    `train`, `encode` and all other commands take the folder as data, texts included. Memory use is
    bounded, whatever the size of the data. The folder appears once it is complete.

    Args:
        data: Anything that `open_rows` takes.
        output: The folder, which must not exist.
        columns: Names of the vector columns, if they cannot be detected.
        dtype: Type of the shards; float16 takes half the space and keeps three digits.

    Returns:
        The number of rows.

    Raises:
        ConfigError: If the type is another; a ValueError.
        ExistsError: If the folder exists; a FileExistsError.
        DataError: If the rows cannot be read, or float16 would distort them; a ValueError.
    """
    require_choice("dtype", dtype, ["float32", "float16"])
    output = Path(output)
    if output.exists():
        raise ExistsError(
            f"{output} already exists.",
            file=output,
            remedy="Delete it, or choose another folder.",
        )
    rows = open_rows(data, columns=columns)

    def fill(folder: Path) -> None:
        n_shards = -(-rows.n_rows // SHARD_ROWS)
        shards = tracked(_shards(rows, dtype), "cache", n_shards)
        for number, shard in enumerate(shards):
            np.save(folder / f"{number:05d}", shard)
        _write_metadata(folder / CACHED_METADATA, rows.metadata_batches())

    make_folder(output.parent)
    write_folder(output, fill)
    return rows.n_rows


def _shards(rows: Rows, dtype: str) -> Iterator[np.ndarray]:
    for number, block in enumerate(rows.blocks(SHARD_ROWS)):
        with np.errstate(over="ignore"):
            shard = block.astype(dtype)
        too_large = np.argwhere(~np.isfinite(shard))
        if len(too_large):
            row, column = (int(place) for place in too_large[0])
            row_number = number * SHARD_ROWS + row
            raise DataError(
                f"row {row_number} (0-based), column {column} holds {block[row, column]}, which is "
                f"too large for {dtype}.",
                row=row_number,
                column=column,
                remedy="Use float32.",
            )
        lost = _share_lost(block, shard)
        if lost > MAX_LOST:
            raise DataError(
                f"rounding to {dtype} would change rows {number * SHARD_ROWS} to "
                f"{number * SHARD_ROWS + len(shard) - 1} (0-based) by {lost:.2g} of their standard "
                f"deviation (at most {MAX_LOST}): they are very small, or lie far from 0.",
                remedy="Use float32, or centre and scale the rows.",
            )
        yield shard


def _share_lost(block: np.ndarray, rounded: np.ndarray) -> float:
    """Return the root mean square of the rounding errors, in standard deviations of the rows.

    Rows that are all equal, such as a single one, have no deviation: the unit is then their size.
    """
    error, variance, square_sum = 0.0, 0.0, 0.0
    mean = block.mean(axis=0, dtype=np.float64)
    pieces = zip(small_blocks(block), small_blocks(rounded), strict=True)
    for piece, rounded_piece in pieces:
        error += float(np.square(piece - rounded_piece.astype(np.float64)).sum())
        variance += float(np.square(piece - mean).sum())
        square_sum += float(np.square(piece, dtype=np.float64).sum())
    if error == 0:
        return 0.0
    are_equal = (block == block[0]).all()
    return (error / (square_sum if are_equal else variance)) ** 0.5


def _write_metadata(path: Path, batches: Iterator[pa.RecordBatch]) -> None:
    """Write metadata batch by batch, if there is any."""
    first = next(batches, None)
    if first is None:
        return
    path.parent.mkdir()
    with parquet.ParquetWriter(path, first.schema) as writer:
        writer.write_batch(first)
        for batch in batches:
            writer.write_batch(batch)
