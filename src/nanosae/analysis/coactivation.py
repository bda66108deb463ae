"""Co-activation of features: counts, lift, and normalised pointwise mutual information.

If feature i is active on f_i of N rows, and features i and j together on c,

    lift = c·N ÷ (f_i·f_j)         npmi = log(lift) ÷ −log(c ÷ N)

(Bouma 2009). Matrices of features × features are computed a block of features at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp

from nanosae.analysis.ranking import largest_in_segments
from nanosae.analysis.reading import feature_blocks
from nanosae.codes import Codes, indices
from nanosae.progress import tracked

MIN_SHARED_ROWS = 5  # of a pair that is listed as coactive
COUNTED = 64  # features whose shared rows are counted together
COUNTED_CELLS = 2**27  # counts held during a pass over the corpus, 512 MB


def cooccurrence(
    codes: Codes, features: Any = None, min_share: float = 0.05
) -> sp.csr_array:
    """Count the rows on which two features are active together.

    Args:
        codes: The corpus.
        features: The features of the result's rows; all by default.
        min_share: Keep only pairs that share at least this part of the rarer feature's rows. This
            bounds the result: a feature has at most L0 ÷ min_share partners. 0 keeps all pairs.

    Returns:
        Counts, (len(features), n_features) int32; each feature shares all its rows with itself.
    """
    counts = codes.counts
    parts = [sp.csr_array((0, codes.n_features), dtype=np.int32)]
    for block, shared in shared_rows(codes, features):
        rarer = np.minimum.outer(counts[block], counts)
        is_enough = shared >= min_share * rarer
        parts.append(sp.csr_array(np.where(is_enough, shared, 0)))
    return sp.csr_array(sp.vstack(parts, format="csr"))


def shared_rows(
    codes: Codes, features: Any = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Count the rows that features share with every feature, block by block.

    The corpus is read once per COUNTED_CELLS counts, so memory does not depend on its size.

    Yields:
        The features of a block (see `feature_blocks`), and counts, (block, n_features) int32.
    """
    features = indices(features, codes.n_features, "feature")
    width = max(1, COUNTED_CELLS // codes.n_features)
    for counted in np.split(features, range(width, len(features), width)):
        shared = _count_shared_rows(codes, counted)
        start = 0
        for block in tracked(feature_blocks(codes, counted), "read features"):
            stop = start + len(block)
            yield block, shared[start:stop]
            start = stop


def _count_shared_rows(codes: Codes, features: np.ndarray) -> np.ndarray:
    """Count the rows that features share with every feature in one pass over the corpus."""
    n_columns = len(features)
    shared = np.zeros((n_columns, codes.n_features), np.int32)
    for _, shard in codes.shards(values=False):
        rows: Any = shard
        columns = sp.csc_array(rows[:, features])
        starts = range(0, n_columns, COUNTED)
        for start in tracked(starts, "count shared rows"):
            stop = min(start + COUNTED, n_columns)
            ends = columns.indptr[start : stop + 1]
            shared[start:stop] += _shared_rows_of_shard(rows, columns.indices, ends)
    return shared


def _shared_rows_of_shard(
    rows: Any, active_rows: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    """Count the rows of a shard that some columns share with each feature.

    Args:
        rows: The shard, csr_array (n, n_features).
        active_rows: Active rows of all columns, column by column.
        ends: Start of each of the columns in `active_rows`, and the end of the last.

    Returns:
        Counts, (len(ends) - 1, n_features).
    """
    n_columns = len(ends) - 1
    n_features = rows.shape[1]
    start, stop = ends[0], ends[-1]
    gathered = rows[active_rows[start:stop]]
    n_rows_of_column = np.diff(ends)
    n_features_of_row = np.diff(gathered.indptr)

    column = np.repeat(np.arange(n_columns), n_rows_of_column)
    first_cell = column * n_features
    cell = np.repeat(first_cell, n_features_of_row) + gathered.indices
    n_cells = n_columns * n_features
    counted = np.bincount(cell, minlength=n_cells)
    return counted.reshape(n_columns, n_features)


def coactive_features(
    codes: Codes, block: np.ndarray, shared: np.ndarray, n: int, duplicate: float
) -> tuple[dict[str, list[np.ndarray]], list[np.ndarray]]:
    """Return the features most coactive with each feature, and its duplicates.

    Args:
        codes: The corpus.
        block: Features, (F,).
        shared: Number of rows that each shares with every feature, (F, n_features).
        n: Maximum number of coactive features of each.
        duplicate: Jaccard similarity of active rows from which on two features are duplicates.

    Returns:
        `coactive, coactive_count, coactive_lift, coactive_npmi`, in decreasing order of npmi, and
        the duplicates of each feature. Both are among the features with which it shares at least
        MIN_SHARED_ROWS and more rows than by chance.
    """
    cells = np.flatnonzero(shared >= MIN_SHARED_ROWS)
    place, other = np.divmod(cells, codes.n_features)
    feature = block[place]
    together = shared.ravel()[cells].astype(np.int64)
    count = codes.counts[feature]
    other_count = codes.counts[other]
    lift = together * codes.n_rows / (count * other_count)

    kept = (lift > 1) & (feature != other)
    place = place[kept]
    other = other[kept]
    together = together[kept]
    lift = lift[kept]
    share_together = together / codes.n_rows
    npmi = np.log(lift) / -np.log(share_together)

    places_and_end = np.arange(len(block) + 1)
    ends = np.searchsorted(place, places_and_end)
    best = largest_in_segments(npmi, ends, n)
    facts = {
        "coactive": [other[few] for few in best],
        "coactive_count": [together[few].astype(np.int64) for few in best],
        "coactive_lift": [lift[few] for few in best],
        "coactive_npmi": [npmi[few] for few in best],
    }
    n_union = count[kept] + other_count[kept] - together
    is_duplicate = together >= duplicate * n_union
    duplicates = other[is_duplicate]
    ends = np.searchsorted(place[is_duplicate], places_and_end)
    duplicates_of_each = [duplicates[start:stop] for start, stop in pairwise(ends)]
    return facts, duplicates_of_each
