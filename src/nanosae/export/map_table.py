"""A corpus as a table of points, for programs that draw maps: Embedding Atlas, datamapplot."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from nanosae.atomic import write_file
from nanosae.codes import Codes
from nanosae.runs.tables import known_labels
from nanosae.view.explorer.prepare import load_map, make_map


def write_map(codes: Codes, output: str | Path) -> int:
    """Write the explorer's map of rows to a Parquet file; return the number of rows.

    Columns are `row`, `x`, `y`, the leading `feature` (empty where none is active) with its
    `label`, and the corpus' texts and columns; a column with one of these names gets a `_` behind.

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
    features = [None if feature < 0 else feature for feature in led]
    columns: dict[str, Any] = {
        "row": pa.array(range(codes.n_rows), pa.int64()),
        "x": pa.array(points["rows"][:, 0]),
        "y": pa.array(points["rows"][:, 1]),
        "feature": pa.array(features, pa.int32()),
        "label": pa.array([labels.get(feature) for feature in led], pa.string()),
    }
    if codes.has_texts:
        columns["text"] = codes.texts()
    for name in codes.columns:
        free_name = name
        while free_name in columns:
            free_name += "_"
        columns[free_name] = codes.column(name)
    table = pa.table(columns)
    write_file(Path(output), partial(parquet.write_table, table))
    return codes.n_rows
