"""Writing the files of one shard; `format.py` describes them, `shard.py` reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from nanosae.atomic import write_array, write_file
from nanosae.codes.blocks import Block
from nanosae.codes.format import Facts, file_facts

ROW_GROUP = 1024  # rows per Parquet row group, which must be read for a single text
SMALLEST = np.float16(2.0**-24)  # the smallest positive float16 number


def write_shard(folder: Path, blocks: Sequence[Block], source: Facts | None) -> Facts:
    """Write the files of a shard; return its entry in the manifest.

    Args:
        folder: An empty folder.
        blocks: The rows.
        source: The file and offset of their embeddings, if no copy is kept.
    """
    rows: Any = sp.vstack([block.rows for block in blocks], format="csr")
    scale = _scale(rows.data)
    _save_matrix(folder, "row", rows, scale)
    _save_matrix(folder, "feature", rows.tocsc(), scale)
    given = [block.vectors for block in blocks if block.vectors is not None]
    vectors = _save_vectors(folder, np.concatenate(given)) if given else source
    tables = [block.table for block in blocks if block.table is not None]
    if tables:
        _save_table(folder, pa.concat_tables(tables, promote_options="permissive"))
    files = {path.name: file_facts(path) for path in sorted(folder.iterdir())}
    return {
        "n_rows": rows.shape[0],
        "nnz": rows.nnz,
        "scale": scale,
        "vectors": vectors,
        "files": files,
    }


def _save_matrix(folder: Path, side: str, matrix: Any, scale: float) -> None:
    """Save the three arrays of a sparse matrix, by row (CSR) or by feature (CSC)."""
    width = matrix.shape[1] if side == "row" else matrix.shape[0]
    index = np.uint16 if width <= 2**16 else np.uint32
    half = (matrix.data / np.float32(scale)).astype(np.float16)
    write_array(folder / f"{side}_values.npy", np.maximum(half, SMALLEST))
    write_array(folder / f"{side}_indices.npy", matrix.indices.astype(index))
    write_array(folder / f"{side}_ptr.npy", matrix.indptr.astype(np.int64))


def _save_vectors(folder: Path, vectors: np.ndarray) -> Facts:
    """Save embeddings; return their entry in the manifest."""
    scale = _scale(vectors)
    half = (vectors / np.float32(scale)).astype(np.float16)
    write_array(folder / "vectors.npy", half)
    return {"scale": scale}


def _save_table(folder: Path, table: pa.Table) -> None:
    options: Any = {"row_group_size": ROW_GROUP, "compression": "zstd"}
    write_file(
        folder / "rows.parquet",
        lambda stream: pq.write_table(table, stream, **options),
    )


def _scale(values: np.ndarray) -> float:
    """Return the power of two by which values must be divided to use float16's upper range."""
    largest = float(np.abs(values).max(initial=0.0))
    _, exponent = math.frexp(largest)
    return 2.0 ** max(exponent - 15, -125)
