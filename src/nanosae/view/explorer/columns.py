"""The metadata columns at a glance: their most frequent values, or histograms of numbers."""

from __future__ import annotations

import numpy as np

from nanosae.view.explorer.corpus import Answer, Column, OpenCorpus, day, read_column

MAX_COLUMNS = 12
VALUES = 5  # most frequent values of a column
BINS = 20
SAMPLE = 20_000  # rows from which the summaries are made
IDS = 0.5  # distinct values per row above which a column identifies single rows


def columns(corpus: OpenCorpus) -> Answer:
    """Summarise the metadata columns, except those that identify single rows.

    Returns:
        `columns`: the `name` of each, with its most frequent `values` (text and share of the rows
        that have one) and `n_values`, the number of distinct ones; for numbers and times a
        `histogram` with its two `ends` instead. Estimated on a sample of the rows.
    """
    rows = np.sort(corpus.row_order[:SAMPLE]).astype(np.int64)
    found = []
    for name in corpus.codes.columns[:MAX_COLUMNS]:
        column = read_column(corpus.codes.series(name, rows))
        summary = _most_frequent(column) if column.names else _histogram(column)
        if summary is not None:
            found.append({"name": name} | summary)
    return {"columns": found}


def _most_frequent(column: Column) -> Answer | None:
    known = column.values[column.values >= 0]
    if len(column.names) > IDS * len(known):
        return None
    counts = np.bincount(known, minlength=len(column.names))
    shares = (counts / len(known))[:VALUES].tolist()
    values = list(zip(column.names, shares, strict=False))
    return {"values": values, "n_values": len(column.names)}


def _histogram(column: Column) -> Answer | None:
    known = column.values[np.isfinite(column.values)]
    if not len(known):
        return None
    low, high = known.min(), known.max()
    # bins between long numbers may be too narrow for floats
    places = (known - low) / ((high - low) or 1.0)
    counts, _ = np.histogram(places, BINS, (0, 1))
    ends = [day(low), day(high)] if column.is_date else [low, high]
    return {"histogram": counts, "ends": ends}
