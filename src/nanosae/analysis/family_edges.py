"""Candidate edges of the trees that families are cut from, and the trees.

With C_ij rows in common, f_i and f_j active rows and E = f_i·f_j ÷ n_rows in common by chance, an
edge weighs H = (C − E) ÷ (min(f_i, f_j) − E + 20): Loevinger's coefficient (Psychol. Bull. 45
(1948) 507), 1 if one feature implies the other and 0 if they are independent, with 20 rows added
below the line so that rare pairs must be surer.

Places in a list of features stand for the features here. The list goes from frequent to rare, so
that a parent's place is before its child's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse import csgraph
from scipy.special import gammainc

from nanosae.analysis.coactivation import cooccurrence
from nanosae.codes import Codes
from nanosae.errors import ConfigError

SHRINKAGE = 20.0  # rows below the line of H
MIN_OVERLAP = 0.05  # C ÷ min(f_i, f_j); less counts as 0
MAX_CHANCE_PAIRS = (
    1.0  # expected number of pairs as close by chance, above which one is dropped
)


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges from denser (or earlier) features to rarer ones, heaviest first.

    Attributes:
        parent: Place of the parent, (n_edges,).
        child: Place of the child, (n_edges,).
        weight: H, or with levels the child's share beyond chance + cosine, (n_edges,).
    """

    parent: np.ndarray
    child: np.ndarray
    weight: np.ndarray

    def take(self, chosen: np.ndarray) -> Edges:
        """Return some of the edges."""
        return Edges(self.parent[chosen], self.child[chosen], self.weight[chosen])


def content_order(codes: Codes) -> np.ndarray:
    """Return all features from frequent to rare, in an order that no renumbering changes.

    Features active on as many rows come by falling sum of activations, then by where they are
    active. Only features with equal activations on equal rows keep the order of their numbers.
    """
    total = np.zeros(codes.n_features)
    position = np.zeros(codes.n_features)
    for first, block in codes.shards():
        n_active = np.diff(block.indptr)
        row = np.repeat(np.arange(first, first + len(n_active)), n_active)
        total += np.bincount(block.indices, block.data, codes.n_features)
        moment = block.data * np.sqrt(row + 1.0)
        position += np.bincount(block.indices, moment, codes.n_features)
    return np.lexsort((-position, -total, -codes.counts))


def prefix_levels(
    codes: Codes, features: np.ndarray, prefixes: Sequence[int]
) -> np.ndarray:
    """Return the prefix of a Matryoshka SAE that each feature enters with, (len(features),).

    Raises:
        ConfigError: If `prefixes` do not ascend to the number of features.
    """
    sizes = list(prefixes)
    ascending = sizes == sorted(set(sizes))
    reach_all = sizes[-1:] == [codes.n_features]
    if not ascending or not reach_all or sizes[0] < 1:
        raise ConfigError(
            f"prefixes={sizes} must ascend to n_features={codes.n_features}.",
            remedy="The model's cfg.json holds them.",
        )
    return np.searchsorted(sizes, features, side="right")


def candidate_edges(
    codes: Codes,
    features: np.ndarray,
    min_weight: float,
    level: np.ndarray | None = None,
    directions: np.ndarray | None = None,
) -> tuple[Edges, sp.csr_array]:
    """Weigh the pairs of features that may be edges.

    A pair is dropped if more than one pair as close is expected by chance among all pairs, when the
    rows in common are Poisson with mean E.

    Args:
        codes: The corpus.
        features: Eligible features, from frequent to rare, (n,).
        min_weight: Least H of an edge.
        level: Prefix of each feature in a Matryoshka SAE, (n,): parents are of a smaller one.
        directions: Unit directions of all features, whose cosines count with levels.

    Returns:
        The edges, and C ÷ min(f_i, f_j) of all pairs, (n, n).
    """
    counts = cooccurrence(codes, features, min_share=min(MIN_OVERLAP, min_weight))
    pairs: Any = sp.coo_array(counts[:, features])
    different = pairs.row != pairs.col
    i = pairs.row[different].astype(np.int64)
    j = pairs.col[different].astype(np.int64)
    in_common = pairs.data[different]
    frequency = codes.counts[features].astype(np.float64)
    overlap = in_common / np.minimum(frequency[i], frequency[j])
    overlaps = sp.csr_array((overlap, (i, j)), shape=pairs.shape)

    directed = i < j if level is None else level[i] < level[j]
    expected = frequency[i] * frequency[j] / max(codes.n_rows, 1)
    # j is the rarer one
    weight = (in_common - expected) / (frequency[j] - expected + SHRINKAGE)
    # gammainc(c, E) is the chance of c or more rows in common
    n_chance_pairs = gammainc(in_common, expected) * len(features) ** 2 / 2
    keep = directed & (weight >= min_weight) & (n_chance_pairs <= MAX_CHANCE_PAIRS)
    i, j = i[keep], j[keep]
    in_common, weight = in_common[keep], weight[keep]
    if level is not None and directions is not None:
        cosine = np.einsum("ab,ab->a", directions[features[i]], directions[features[j]])
        weight = weight + cosine
    heaviest_first = np.lexsort((j, i, -in_common, -weight))
    return Edges(i, j, weight).take(heaviest_first), overlaps


def spanning_forest(edges: Edges, alive: np.ndarray) -> np.ndarray:
    """Return which edges make the maximum spanning forest of the features that are left.

    Args:
        edges: Candidate edges, heaviest first.
        alive: Which features are left, bool (n,).

    Returns:
        Places among the edges, ascending.
    """
    usable = np.flatnonzero(alive[edges.parent] & alive[edges.child])
    # the order replaces the weights: no two are equal, and the heaviest is the least
    order = (usable + 1.0, (edges.parent[usable], edges.child[usable]))
    graph: Any = sp.csr_array(order, shape=(len(alive), len(alive)))
    tree = csgraph.minimum_spanning_tree(graph)
    return np.sort(tree.data.astype(np.int64)) - 1


def best_parents(edges: Edges) -> np.ndarray:
    """Return the heaviest edge of each child, as places among the edges."""
    return np.unique(edges.child, return_index=True)[1]


def descendants(forest: Edges, n_features: int, min_out: int) -> list[np.ndarray]:
    """List what can be reached from each feature with more than a few rarer neighbours.

    Args:
        forest: Edges of a forest.
        n_features: Number of eligible features.
        min_out: A root has at least so many edges to rarer features.

    Returns:
        For each root, itself and then its descendants from frequent to rare.
    """
    ones = np.ones(len(forest.parent))
    shape = (n_features, n_features)
    graph = sp.csr_array((ones, (forest.parent, forest.child)), shape=shape)
    reached = []
    for root in np.flatnonzero(np.diff(graph.indptr) >= min_out):
        nodes = csgraph.breadth_first_order(graph, root, return_predecessors=False)
        below = np.sort(nodes[1:])
        reached.append(np.append(nodes[0], below))
    return reached
