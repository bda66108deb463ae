"""Conversion of slow formats to shards that are mapped: CSV, compressed files, large row groups."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pyarrow import parquet

from nanosae.sources import open_rows

SHARD_ROWS = 2**17


def cache(
    data: Any,
    output: str | Path,
    *,
    columns: list | None = None,
    dtype: Literal["float32", "float16"] = "float32",
) -> int:
    """Write rows to .npy shards in a new folder, their other columns to Parquet beside them.

    `train`, `encode` and all else take the folder as data, texts included. What is read at a time
    is bounded, whatever the size of the data; the folder appears when it is complete.

    Args:
        data: Whatever `open_rows` takes.
        output: The folder, which must not exist.
        columns: Names of the vector columns, where the data does not show them.
        dtype: Of the shards; float16 halves them and keeps three digits.

    Returns:
        The number of rows.

    Raises:
        FileExistsError: If the folder exists.
        ValueError: If the rows cannot be read, or a value is too large for float16.
    """
    output = Path(output)
    if output.exists():
        raise FileExistsError(f"{output} exists: delete it, or choose another folder.")
    draft = output.with_name(f".{output.name}-{os.getpid()}")
    beside = draft / "columns"
    try:
        beside.mkdir(parents=True)
        rows = open_rows(data, columns=columns)
        for i, block in enumerate(rows.blocks(SHARD_ROWS)):
            with np.errstate(over="ignore"):
                shard = block.astype(dtype)
            if not np.isfinite(shard).all():
                raise ValueError(f"row {i * SHARD_ROWS} or one after it is too large for {dtype}.")
            np.save(draft / f"{i:05d}", shard)
        writer = None
        for batch in rows.metadata_batches():
            writer = writer or parquet.ParquetWriter(beside / "00000.parquet", batch.schema)
            writer.write_batch(batch)
        writer.close() if writer else beside.rmdir()
        draft.rename(output)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return rows.n_rows
