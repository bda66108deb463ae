"""A corpus as a table of points, for programs that draw maps: Embedding Atlas, datamapplot."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from nanosae.atomic import write_file
from nanosae.codes import Codes
from nanosae.runs.export import free_name
from nanosae.runs.tables import known_labels
from nanosae.view.explorer.prepare import load_map, make_map

BLOCK = 2**14  # rows whose features are listed at once


def write_map(codes: Codes, output: str | Path) -> int:
    """Write the explorer's map of rows to a Parquet file; return the number of rows.

    Columns are `row`, `x`, `y`, the leading `feature` (empty if none is active) with its `label`,
    `features` (all active features of the row, strongest first, each with its name in `feature` and
    its number in `index`, as Embedding Atlas expects), and the texts and columns of the corpus; a
    column with one of these names gets the suffix `_`.

    Args:
        codes: The corpus; its map is made if it has none.
        output: The file.
    """
    points = load_map(codes)
    if points is None:
        make_map(codes)
        points = load_map(codes)
    assert points is not None
    labels = known_labels(codes)
    led = points["led"].tolist()
    leading = [None if feature < 0 else feature for feature in led]
    columns: dict[str, Any] = {
        "row": pa.array(range(codes.n_rows), pa.int64()),
        "x": pa.array(points["rows"][:, 0]),
        "y": pa.array(points["rows"][:, 1]),
        "feature": pa.array(leading, pa.int32()),
        "label": pa.array([labels.get(feature) for feature in led], pa.string()),
        "features": _feature_lists(codes, labels),
    }
    if codes.has_texts:
        columns["text"] = codes.texts()
    for name in codes.columns:
        columns[free_name(name, columns)] = codes.series(name)
    table = pa.table(columns)
    write_file(Path(output), partial(parquet.write_table, table))
    return codes.n_rows


def _feature_lists(codes: Codes, labels: dict[int, str]) -> pa.ChunkedArray:
    """Return each row's active features with their names, strongest first."""
    numbered = {feature: f"feature {feature}" for feature in range(codes.n_features)}
    names = pa.array((numbered | labels).values(), pa.string())
    blocks = []
    for start in range(0, codes.n_rows, BLOCK):
        block = codes.rows(start, start + BLOCK)
        n_active = np.diff(block.indptr)
        row_of_entry = np.repeat(np.arange(len(n_active)), n_active)
        weakest_last = np.negative(block.data)
        order = np.lexsort((weakest_last, row_of_entry))
        features = pa.array(block.indices[order], pa.int32())
        named = pa.StructArray.from_arrays(
            [names.take(features), features], names=["feature", "index"]
        )
        offsets = pa.array(block.indptr, pa.int32())
        blocks.append(pa.ListArray.from_arrays(offsets, named))
    return pa.chunked_array(blocks)
