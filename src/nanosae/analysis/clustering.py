"""Ward's method for weighted points, spherical k-means, and the strongest feature of each row."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from nanosae.analysis.statistics import unit

BLOCK = 1024  # rows whose neighbours are looked for together


def ward_merges(points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Merge weighted points into one tree, always the two groups whose union costs least.

    The cost is the increase of the sum of squares within groups (Ward, J. Am. Stat. Assoc. 58
    (1963) 236), updated by Lance and Williams' formula (Comput. J. 9 (1967) 373). Nearest-neighbour
    chains find the same merges in O(n²) (Müllner, arXiv 1109.2378).

    Args:
        points: (n, width).
        weights: How many points each stands for, (n,).

    Returns:
        Merges, cheapest first: a point of either group, (n − 1, 2) int64. The first n − m of them
        leave m groups.

    Example:
        >>> ward_merges(np.array([[0.0], [9.0], [1.0]]), np.ones(3)).tolist()
        [[0, 2], [0, 1]]
    """
    weights = weights.copy()
    cost = _initial_costs(points, weights)
    merges: list[tuple[float, int, int]] = []
    chain = [0]  # each the nearest neighbour of the one before
    n_merges = len(points) - 1
    while len(merges) < n_merges:
        last = chain[-1]
        nearest = int(cost[last].argmin())
        if not _is_reciprocal(cost, chain, nearest):
            chain.append(nearest)
            continue
        kept, merged = sorted(chain[-2:])
        # of two groups the lower point stays: 0 is always there
        chain = chain[:-2] or [0]
        cost_of_merge = cost[kept, merged]
        merges.append((cost_of_merge, kept, merged))
        _merge(cost, weights, kept, merged)
    pairs = [(kept, merged) for _, kept, merged in sorted(merges)]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _is_reciprocal(cost: np.ndarray, chain: list[int], nearest: int) -> bool:
    """Return whether the chain's last two groups are each other's nearest."""
    if len(chain) == 1:
        return False
    last = chain[-1]
    before = chain[-2]
    return cost[last, nearest] >= cost[last, before]


def _initial_costs(points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the cost of merging two points: w_i w_j ÷ (w_i + w_j) · ‖x_i − x_j‖², (n, n)."""
    squares = (points * points).sum(1)
    distance = squares[:, None] + squares - 2 * points @ points.T
    cost = np.maximum(distance, 0)
    products = np.outer(weights, weights)
    sums = np.add.outer(weights, weights)
    cost *= products / sums
    np.fill_diagonal(cost, np.inf)
    return cost


def _merge(cost: np.ndarray, weights: np.ndarray, i: int, j: int) -> None:
    """Let group i take in group j, in place; j is then infinitely far from all."""
    cost_of_i = (weights[i] + weights) * cost[i]
    cost_of_j = (weights[j] + weights) * cost[j]
    cost_between = weights * cost[i, j]
    total = weights[i] + weights[j] + weights
    updated = (cost_of_i + cost_of_j - cost_between) / total
    cost[i] = updated
    cost[:, i] = updated
    cost[j] = np.inf
    cost[:, j] = np.inf
    weights[i] += weights[j]


def leaders(block: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows with any entry, and the column of each one's largest entry.

    Args:
        block: csr_array (n, m); its indices are sorted in place.

    Returns:
        Rows, and their leading columns, each (n_rows_with_entries,) int64; of equal entries the
        first column.
    """
    block.sort_indices()
    n_entries = np.diff(block.indptr)
    rows = np.flatnonzero(n_entries)
    starts = block.indptr[rows]
    if not len(rows):
        return rows, np.zeros(0, np.int64)
    largest = np.maximum.reduceat(block.data, starts)
    largest_of_row = np.repeat(largest, n_entries[rows])
    is_largest = block.data == largest_of_row
    places = np.flatnonzero(is_largest)
    first_of_row = np.searchsorted(places, starts)
    first = places[first_of_row]
    leading = block.indices[first].astype(np.int64)
    return rows, leading


def nearest_rows(rows: np.ndarray, sample: np.ndarray, k: int) -> np.ndarray:
    """Return the places of the k rows of a sample with the largest product with each row.

    Args:
        rows: (n, width).
        sample: (m, width).
        k: Number of neighbours; m, if that is less.

    Returns:
        Places in the sample, in no order, (n, k) int32.
    """
    n_rows = len(rows)
    k = min(k, len(sample))
    nearest = np.empty((n_rows, k), np.int32)
    if k == 0:
        return nearest
    for start in range(0, n_rows, BLOCK):
        block = slice(start, start + BLOCK)
        products = rows[block] @ sample.T
        nearest[block] = np.argpartition(-products, k - 1)[:, :k]
    return nearest


def spherical_steps(rows: np.ndarray, axes: np.ndarray, steps: int) -> np.ndarray:
    """Move axes to where rows are, by steps of spherical k-means.

    Each row goes to the axis of largest cosine, and each axis to the mean of its rows, at length
    one (Dhillon and Modha, Machine Learning 42 (2001) 143). An axis without rows stays.

    Args:
        rows: (n, width).
        axes: Of length one, (m, width).
        steps: Number of steps.

    Example:
        >>> rows = np.array([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]])
        >>> spherical_steps(rows, np.array([[0.0, 1.0], [-1.0, 0.0]]), 1).round(2).tolist()
        [[0.89, 0.45], [-1.0, 0.0]]
    """
    n_rows = len(rows)
    n_axes = len(axes)
    ones = np.ones(n_rows)
    for _ in range(steps):
        axis_of_row = (rows @ axes.T).argmax(axis=1)
        places = axis_of_row, np.arange(n_rows)
        members = sp.csr_array((ones, places), shape=(n_axes, n_rows))
        moved = unit(members @ rows)
        n_members = np.bincount(axis_of_row, minlength=n_axes)
        is_empty = n_members == 0
        axes = np.where(is_empty[:, None], axes, moved)
    return axes
