"""The metadata columns at a glance: their commonest values, or how their numbers are spread."""

from __future__ import annotations

import numpy as np

from nanosae.view.explorer.corpus import Answer, Column, OpenCorpus, day

MAX_COLUMNS = 12
VALUES = 5  # of a column, the commonest
BINS = 20
IDS = 0.5  # distinct values a row, from which on a column names rows and not groups of them


def columns(corpus: OpenCorpus) -> Answer:
    """Say what the metadata columns hold, without those that name single rows.

    Returns:
        `columns`: of each its `name`, and either its commonest `values` (text and rows) with how
        many there are, `n_values`; or of numbers and times a `histogram` with its two `ends`.
    """
    found = []
    for name in corpus.codes.columns[:MAX_COLUMNS]:
        column = corpus.column(name)
        about = _spread(column) if not column.names else _commonest(column)
        if about is not None:
            found.append({"name": name} | about)
    return {"columns": found}


def _commonest(column: Column) -> Answer | None:
    known = column.values[column.values >= 0]
    if len(column.names) > IDS * len(known):
        return None
    counts = np.bincount(known, minlength=len(column.names))[:VALUES].tolist()
    values = list(zip(column.names, counts, strict=False))
    return {"values": values, "n_values": len(column.names)}


def _spread(column: Column) -> Answer | None:
    known = column.values[np.isfinite(column.values)].astype(np.float64)
    if not len(known):
        return None
    low, high = known.min(), known.max()
    counts, _ = np.histogram(known, BINS, (low, high))
    ends = [day(low), day(high)] if column.is_date else [low, high]
    return {"histogram": counts, "ends": ends}
