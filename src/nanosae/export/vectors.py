"""The rows of a corpus as sparse vectors with ids, texts and columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from nanosae.codes import Codes
from nanosae.progress import tracked
from nanosae.runs.export import records

BLOCK = 2**12  # rows held at once


class Vector(NamedTuple):
    """One row of a corpus.

    Attributes:
        id: Number of the row.
        features: Numbers of its active features, ascending.
        activations: Activations of these features.
        payload: Text and other columns of the row, as JSON types.
    """

    id: int
    features: list[int]
    activations: list[float]
    payload: dict[str, Any]


def vectors(codes: Codes) -> Iterator[Vector]:
    """Yield every row of a corpus as a vector."""
    for first in tracked(range(0, codes.n_rows, BLOCK), "export"):
        end = min(first + BLOCK, codes.n_rows)
        rows = np.arange(first, end)
        block = codes.take(rows)
        payloads = _payloads(codes, rows)
        for place, row in enumerate(rows.tolist()):
            start, stop = block.indptr[place : place + 2]
            entries = slice(start, stop)
            features = block.indices[entries].tolist()
            activations = block.data[entries].tolist()
            yield Vector(row, features, activations, payloads[place])


def _payloads(codes: Codes, rows: np.ndarray) -> list[dict[str, Any]]:
    """Return texts and columns of rows as JSON types."""
    columns: dict[str, Any] = {}
    if codes.has_texts:
        columns["text"] = codes.texts(rows)
    for name in codes.columns:
        columns[name] = codes.series(name, rows)
    if not columns:
        return [{} for _ in rows]
    table = pd.DataFrame(columns)
    return records(table)
