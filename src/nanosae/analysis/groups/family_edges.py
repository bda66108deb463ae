"""Candidate edges between features, and the trees from which families are taken.

If features i and j are active on f_i and f_j rows, on C of them together, and E = f_i·f_j ÷ n_rows
is expected by chance, their edge has the weight H = (C − E) ÷ (min(f_i, f_j) − E + 20). This is
Loevinger's coefficient (Psychol. Bull. 45 (1948) 507), which is 1 if one feature implies the other
and 0 if they are independent, with 20 added to the denominator to shrink rare pairs.

Here features are represented by their positions in a list from frequent to rare, so a parent's
position is before its child's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse import csgraph
from scipy.special import gammainc

from nanosae.analysis.coactivation import cooccurrence
from nanosae.codes import Codes
from nanosae.errors import ConfigError

SHRINKAGE = 20.0  # rows added to the denominator of H
MIN_OVERLAP = 0.05  # of C ÷ min(f_i, f_j); smaller values count as 0
MAX_CHANCE_PAIRS = 1.0  # expected number of pairs that share as many rows by chance


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges from denser (or earlier) features to rarer ones, heaviest first.

    Attributes:
        parent: Position of the parent, (n_edges,).
        child: Position of the child, (n_edges,).
        weight: H; with levels, the child's share beyond chance plus the cosine, (n_edges,).
    """

    parent: np.ndarray
    child: np.ndarray
    weight: np.ndarray

    def take(self, chosen: np.ndarray) -> Edges:
        """Return the chosen edges."""
        parent = self.parent[chosen]
        child = self.child[chosen]
        weight = self.weight[chosen]
        return Edges(parent, child, weight)


def content_order(codes: Codes) -> np.ndarray:
    """Return all features from frequent to rare, in an order that does not depend on numbering.

    Ties are broken by the sum of activations, then by the rows on which features are active. Only
    features with identical activations keep the order of their numbers.
    """
    total = np.zeros(codes.n_features)
    position = np.zeros(codes.n_features)
    for first, block in codes.shards():
        n_active = np.diff(block.indptr)
        stop = first + len(n_active)
        row = np.repeat(np.arange(first, stop), n_active)
        feature = block.indices
        total += np.bincount(feature, block.data, codes.n_features)
        moment = block.data * np.sqrt(row + 1.0)
        position += np.bincount(feature, moment, codes.n_features)
    return np.lexsort((-position, -total, -codes.counts))


def prefix_levels(
    codes: Codes, features: np.ndarray, prefixes: list[int]
) -> np.ndarray:
    """Return the smallest prefix of a Matryoshka SAE that contains each feature, (len(features),).

    Raises:
        ConfigError: If `prefixes` do not ascend to the number of features.
    """
    is_ascending = list(prefixes) == sorted(set(prefixes))
    includes_all = prefixes[-1:] == [codes.n_features]
    if not is_ascending or not includes_all or prefixes[0] < 1:
        raise ConfigError(
            f"prefixes={prefixes} must ascend to n_features={codes.n_features}.",
            remedy="They are in the model's cfg.json.",
        )
    return np.searchsorted(prefixes, features, side="right")


def candidate_edges(
    codes: Codes,
    features: np.ndarray,
    min_weight: float,
    level: np.ndarray | None = None,
    directions: np.ndarray | None = None,
) -> tuple[Edges, sp.csr_array]:
    """Return the weighted edges between features.

    A pair is dropped if more than one among all pairs is expected to share as many rows by chance,
    where the number of shared rows is Poisson with mean E.

    Args:
        codes: The corpus.
        features: Eligible features, from frequent to rare, (n,).
        min_weight: Minimum H of an edge.
        level: Prefix of each feature in a Matryoshka SAE, (n,); parents have a smaller one.
        directions: Unit directions of all features; with levels, cosines are added to weights.

    Returns:
        The edges, heaviest first, and C ÷ min(f_i, f_j) of all pairs for which it is at least 0.05,
        (n, n).
    """
    min_share = min(MIN_OVERLAP, min_weight)
    counts = cooccurrence(codes, features, min_share)
    pairs: Any = sp.coo_array(counts[:, features])
    is_pair = pairs.row != pairs.col
    parent = pairs.row[is_pair].astype(np.int64)
    child = pairs.col[is_pair].astype(np.int64)
    n_shared = pairs.data[is_pair]
    n_active = codes.counts[features].astype(np.float64)
    n_parent = n_active[parent]
    n_child = n_active[child]
    overlap = n_shared / np.minimum(n_parent, n_child)
    large = overlap >= MIN_OVERLAP  # a smaller min_weight reads smaller ones, too
    entries = (overlap[large], (parent[large], child[large]))
    overlaps = sp.csr_array(entries, shape=pairs.shape)

    order = np.arange(len(features)) if level is None else level
    is_directed = order[parent] < order[child]
    expected = n_parent * n_child / max(codes.n_rows, 1)
    # without levels the child is the rarer feature
    weight = (n_shared - expected) / (n_child - expected + SHRINKAGE)
    is_heavy = weight >= min_weight
    is_significant = _are_beyond_chance(n_shared, expected, len(features))
    keep = is_directed & is_heavy & is_significant
    parent = parent[keep]
    child = child[keep]
    n_shared = n_shared[keep]
    weight = weight[keep]
    if level is not None and directions is not None:
        parent_direction = directions[features[parent]]
        child_direction = directions[features[child]]
        cosine = np.einsum("ab,ab->a", parent_direction, child_direction)
        weight = weight + cosine
    heaviest_first = np.lexsort((child, parent, -n_shared, -weight))
    return Edges(parent, child, weight).take(heaviest_first), overlaps


def _are_beyond_chance(
    n_shared: np.ndarray, expected: np.ndarray, n_features: int
) -> np.ndarray:
    """Return which pairs share more rows than chance would give any pair, bool (n_pairs,)."""
    # the probability that a Poisson variable with mean `expected` is `n_shared` or more
    p = gammainc(n_shared, expected)
    n_chance_pairs = p * n_features**2 / 2
    return n_chance_pairs <= MAX_CHANCE_PAIRS


def spanning_forest(edges: Edges, alive: np.ndarray) -> np.ndarray:
    """Return the edges of the maximum spanning forest of the remaining features, ascending."""
    n_features = len(alive)
    is_usable = alive[edges.parent] & alive[edges.child]
    usable = np.flatnonzero(is_usable)
    # SciPy before 1.16 requires int32 here
    parent = edges.parent[usable].astype(np.int32)
    child = edges.child[usable].astype(np.int32)
    # edges are sorted by weight: their order breaks ties, and minimising it maximises weights
    order = usable + 1.0
    shape = (n_features, n_features)
    graph: Any = sp.csr_array((order, (parent, child)), shape=shape)
    tree = csgraph.minimum_spanning_tree(graph)
    order_in_tree = tree.data.astype(np.int64)
    return np.sort(order_in_tree) - 1


def best_parents(edges: Edges) -> np.ndarray:
    """Return the positions of the heaviest edge of each child."""
    _, first_edge = np.unique(edges.child, return_index=True)
    return first_edge


def descendants(forest: Edges, n_features: int, min_out: int) -> list[np.ndarray]:
    """Return each root followed by its descendants, from frequent to rare.

    A root is one of the `n_features` with at least `min_out` edges to rarer features.
    """
    ones = np.ones(len(forest.parent))
    ends = (forest.parent, forest.child)
    graph = sp.csr_array((ones, ends), shape=(n_features, n_features))
    n_rarer = np.diff(graph.indptr)
    roots = np.flatnonzero(n_rarer >= min_out)
    reached = []
    for root in roots:
        nodes = csgraph.breadth_first_order(graph, root, return_predecessors=False)
        below = np.sort(nodes[1:])
        reached.append(np.append(nodes[0], below))
    return reached
