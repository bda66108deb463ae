"""The largest entries of vectors and of the rows of a matrix, with deterministic ties."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

FUSION_OFFSET = 60  # constant of reciprocal rank fusion
GROUPED = 16  # columns of which the maximum is taken
SORTED_SHARE = 0.1  # of the values: if more are wanted, all are sorted


def largest_places(values: np.ndarray, n: int) -> np.ndarray:
    """Return the positions of the n largest values, the largest first; ties: the lower position.

    Example:
        >>> largest_places(np.array([1.0, 3.0, 2.0, 3.0]), 3).tolist()
        [1, 3, 2]
    """
    descending = -values
    if SORTED_SHARE * len(values) <= n:
        return np.argsort(descending, kind="stable")[:n]
    nth = np.partition(descending, n - 1)[n - 1]
    candidates = np.flatnonzero(~(descending > nth))  # NaN is last, as in a sort
    order = np.argsort(descending[candidates], kind="stable")
    return candidates[order[:n]]


def largest_in_segments(
    values: np.ndarray, ends: np.ndarray, n: int
) -> list[np.ndarray]:
    """Return the positions of the n largest values of each segment `ends[i] : ends[i + 1]`."""
    places = []
    for start, stop in pairwise(ends):
        segment = values[start:stop]
        places.append(start + largest_places(segment, n))
    return places


def largest_in_rows(
    scores: np.ndarray, n: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the n largest finite entries of each row, the largest first; ties: the lower column.

    Args:
        scores: A matrix, (m, width); entries of −∞ are skipped.
        n: Maximum number of entries per row.

    Returns:
        Columns and values, each a list of m arrays.

    Example:
        >>> columns, values = largest_in_rows(np.array([[1.0, -np.inf, 2.0]]), 3)
        >>> columns[0].tolist(), values[0].tolist()
        ([2, 0], [2.0, 1.0])
    """
    m, width = scores.shape
    n = min(n, width)
    if n == 0:
        no_columns = np.zeros(0, np.int64)
        no_values = np.zeros(0, scores.dtype)
        return [no_columns] * m, [no_values] * m
    least_finite = np.finfo(scores.dtype).min
    bound = np.maximum(lower_bounds(scores, n), least_finite)
    is_candidate = scores >= bound[:, None]
    cells = np.flatnonzero(is_candidate)
    row, column = np.divmod(cells, width)
    values = scores[row, column]
    row_ends = np.searchsorted(row, np.arange(m + 1))
    places = largest_in_segments(values, row_ends, n)
    columns_of_rows = [column[few] for few in places]
    values_of_rows = [values[few] for few in places]
    return columns_of_rows, values_of_rows


def lower_bounds(scores: np.ndarray, n: int) -> np.ndarray:
    """Return a lower bound on the n-th largest entry of each row, (m,).

    It is the n-th largest of the maxima of GROUPED columns each, of which few are smaller than the
    n-th largest entry if there are many more columns than n. This takes a tenth of the time that it
    takes to partition the whole rows.

    Args:
        scores: A matrix, (m, width), without NaN.
        n: A number from 1 to the width.

    Example:
        >>> lower_bounds(np.array([[1.0, 5.0, 3.0]]), 2).tolist()
        [3.0]
    """
    m, width = scores.shape
    n_groups = width // GROUPED
    if n_groups >= n:
        grouped = scores[:, : n_groups * GROUPED].reshape(m, GROUPED, n_groups)
        scores = grouped.max(axis=1)
    place_of_nth = scores.shape[1] - n
    return np.partition(scores, place_of_nth, axis=1)[:, place_of_nth]


def middles_of_bands(ranked: np.ndarray, n: int) -> np.ndarray:
    """Return the middle item of each of n equal bands of a ranking; all items if there are fewer.

    Example:
        >>> middles_of_bands(np.array([9, 7, 4, 3, 1, 0]), 3).tolist()
        [7, 3, 0]
    """
    n = min(n, len(ranked))
    middles = (np.arange(n) + 0.5) * len(ranked) / max(n, 1)
    return ranked[middles.astype(np.int64)]


def fuse_rankings(rankings: Sequence[np.ndarray], n: int) -> np.ndarray:
    """Fuse rankings by reciprocal rank: an item scores the sum of 1 ÷ (60 + its rank).

    This needs no comparable scores (Cormack, Clarke and Büttcher, SIGIR 2009).

    Args:
        rankings: Items of each ranking, the best first, int (m,).
        n: Number of items to return, the best first; ties: the lower number.

    Example:
        >>> fuse_rankings([np.array([7, 3, 5]), np.array([3, 9])], 3).tolist()
        [3, 7, 9]
    """
    ranked = np.concatenate([[], *rankings])
    items, item = np.unique(ranked, return_inverse=True)
    ranks_in_each = [np.arange(1, len(ranking) + 1) for ranking in rankings]
    rank = np.concatenate([[], *ranks_in_each])
    score = np.bincount(item, 1 / (FUSION_OFFSET + rank), len(items))
    best = largest_places(score, n)
    return items[best].astype(np.int64)
