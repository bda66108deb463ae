"""Clustering of rows: nearest neighbours, smoothing, Ward's method, spherical k-means."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.cluster.hierarchy import linkage
from scipy.sparse import csgraph
from scipy.spatial.distance import squareform

from nanosae.analysis.columns import one_hot
from nanosae.analysis.ranking import lower_bounds
from nanosae.lengths import unit

BLOCK = 1024  # rows whose neighbours are found together
MANY_TIES = 8  # candidates for each neighbour from which on rows are partitioned whole


def ward_tree(points: np.ndarray) -> np.ndarray:
    """Build the hierarchical clustering of points by Ward's method.

    It repeatedly merges the two clusters whose union increases the within-cluster sum of squares
    least (Ward, J. Am. Stat. Assoc. 58 (1963) 236). Time and memory grow with n².

    Returns:
        Merges in the format of `scipy.cluster.hierarchy.linkage`, (n − 1, 4).
    """
    n_points = len(points)
    if n_points < 2:
        return np.empty((0, 4))
    squares = (points * points).sum(axis=1)
    distance = np.add.outer(squares, squares)
    distance -= 2 * points @ points.T
    np.maximum(distance, 0, out=distance)
    np.sqrt(distance, out=distance)
    condensed = squareform(distance, checks=False)
    return linkage(condensed, "ward")


def cut_tree(tree: np.ndarray, n: int) -> np.ndarray:
    """Cut a `ward_tree` into n groups; return the group of each point, (m,).

    Groups are numbered from 0 in the order of their first points.

    Example:
        >>> tree = ward_tree(np.array([[0.0], [9.0], [1.0]]))
        >>> cut_tree(tree, 2).tolist()
        [0, 1, 0]
    """
    n_points = len(tree) + 1
    n_merges = n_points - n
    merged = tree[:n_merges, :2].astype(int)
    unions = n_points + np.arange(n_merges)
    n_nodes = n_points + n_merges
    ends = (merged.ravel(), np.repeat(unions, 2))
    edges = (np.ones(2 * n_merges), ends)
    graph = sp.csr_array(edges, shape=(n_nodes, n_nodes))
    _, group = csgraph.connected_components(graph, directed=False)
    return group[:n_points]


def group_sums(rows: np.ndarray, group: np.ndarray, n: int) -> np.ndarray:
    """Return the sum of the rows of each of n groups, (n, width)."""
    members = one_hot(group, n).astype(rows.dtype)
    return members.T @ rows


def smooth_rows(rows: np.ndarray, near: np.ndarray, times: int) -> np.ndarray:
    """Smooth rows over their neighbours: replace each by a normalised weighted mean, repeatedly.

    Two rows are linked if either is a neighbour of the other, and each row is linked to itself. A
    link between rows with d and e links has the weight 1 ÷ √(d·e), so rows with many neighbours
    have no larger influence (simple graph convolution: Wu et al., arXiv 1902.07153, equation 8).

    Args:
        rows: Unit rows, (n, width).
        near: Positions of the neighbours of each row, (n, k).
        times: Number of repetitions.
    """
    n_rows, n_neighbours = near.shape
    starts = np.arange(n_rows + 1) * n_neighbours
    entries = (np.ones(near.size, np.float32), near.ravel(), starts)
    directed = sp.csr_array(entries, shape=(n_rows, n_rows))
    itself = sp.eye_array(n_rows)
    links = sp.csr_array(directed + directed.T + itself, dtype=np.float32)
    links.data[:] = 1
    scale = sp.diags_array(1 / np.sqrt(links.sum(axis=1)))
    filtering = scale @ links @ scale
    for _ in range(times):
        rows = unit(filtering @ rows)
    return rows


def leaders(block: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the non-empty rows of a csr_array, and the column of the largest entry of each.

    Ties go to the first column. The array's indices are sorted in place.
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
    """Return the positions of the k rows of a sample with the largest inner product with each row.

    Returns:
        (n, k) int32 in no particular order; all rows of the sample if it has fewer than k.
    """
    n_rows = len(rows)
    k = min(k, len(sample))
    nearest = np.empty((n_rows, k), np.int32)
    if k == 0:
        return nearest
    for start in range(0, n_rows, BLOCK):
        block = slice(start, start + BLOCK)
        products = rows[block] @ sample.T
        may_be_nearest = products >= lower_bounds(products, k)[:, None]
        row, column = np.nonzero(may_be_nearest)
        if len(row) > MANY_TIES * k * len(products):  # of copies of a row
            nearest[block] = np.argpartition(-products, k - 1)[:, :k]
            continue
        largest_first = np.lexsort((-products[row, column], row))
        first_of_row = np.searchsorted(row, np.arange(len(products)))
        first_k = first_of_row[:, None] + np.arange(k)
        nearest[block] = column[largest_first[first_k]]
    return nearest


def spherical_steps(rows: np.ndarray, axes: np.ndarray, steps: int) -> np.ndarray:
    """Update axes by steps of spherical k-means.

    Each row is assigned to the axis with the largest cosine, and each axis becomes the normalised
    mean of its rows (Dhillon and Modha, Machine Learning 42 (2001) 143). Axes without rows stay
    unchanged.

    Example:
        >>> rows = np.array([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]])
        >>> spherical_steps(rows, np.array([[0.0, 1.0], [-1.0, 0.0]]), 1).round(2).tolist()
        [[0.89, 0.45], [-1.0, 0.0]]
    """
    n_axes = len(axes)
    for _ in range(steps):
        axis_of_row = (rows @ axes.T).argmax(axis=1)
        moved = unit(group_sums(rows, axis_of_row, n_axes))
        n_members = np.bincount(axis_of_row, minlength=n_axes)
        is_empty = n_members == 0
        axes = np.where(is_empty[:, None], axes, moved)
    return axes
