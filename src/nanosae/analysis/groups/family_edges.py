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
# expected number of pairs as close by chance, above which one is dropped
MAX_CHANCE_PAIRS = 1.0


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
        parent = self.parent[chosen]
        child = self.child[chosen]
        weight = self.weight[chosen]
        return Edges(parent, child, weight)


def content_order(codes: Codes) -> np.ndarray:
    """Return all features from frequent to rare, in an order that no renumbering changes.

    Features active on as many rows come by falling sum of activations, then by where they are
    active. Only features with equal activations on equal rows keep the order of their numbers.
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
    min_share = min(MIN_OVERLAP, min_weight)
    counts = cooccurrence(codes, features, min_share)
    pairs: Any = sp.coo_array(counts[:, features])
    different = pairs.row != pairs.col
    parent = pairs.row[different].astype(np.int64)
    child = pairs.col[different].astype(np.int64)
    in_common = pairs.data[different]
    n_active = codes.counts[features].astype(np.float64)
    of_parent = n_active[parent]
    of_child = n_active[child]
    overlap = in_common / np.minimum(of_parent, of_child)
    overlaps = sp.csr_array((overlap, (parent, child)), shape=pairs.shape)

    order = np.arange(len(features)) if level is None else level
    directed = order[parent] < order[child]
    expected = of_parent * of_child / max(codes.n_rows, 1)
    # without levels the child is the rarer one
    weight = (in_common - expected) / (of_child - expected + SHRINKAGE)
    is_heavy = weight >= min_weight
    is_sure = _are_beyond_chance(in_common, expected, len(features))
    keep = directed & is_heavy & is_sure
    parent = parent[keep]
    child = child[keep]
    in_common = in_common[keep]
    weight = weight[keep]
    if level is not None and directions is not None:
        parent_direction = directions[features[parent]]
        child_direction = directions[features[child]]
        cosine = np.einsum("ab,ab->a", parent_direction, child_direction)
        weight = weight + cosine
    heaviest_first = np.lexsort((child, parent, -in_common, -weight))
    return Edges(parent, child, weight).take(heaviest_first), overlaps


def _are_beyond_chance(
    in_common: np.ndarray, expected: np.ndarray, n_features: int
) -> np.ndarray:
    """Say for which pairs chance makes at most one among all pairs as close, bool (n_pairs,)."""
    # gammainc(c, E) is the chance of c or more rows in common
    chance = gammainc(in_common, expected)
    n_chance_pairs = chance * n_features**2 / 2
    return n_chance_pairs <= MAX_CHANCE_PAIRS


def spanning_forest(edges: Edges, alive: np.ndarray) -> np.ndarray:
    """Return the edges of the maximum spanning forest of what is alive, as ascending places."""
    n_features = len(alive)
    is_usable = alive[edges.parent] & alive[edges.child]
    usable = np.flatnonzero(is_usable)
    # SciPy before 1.16 takes no other integers here
    ends = (edges.parent[usable].astype(np.int32), edges.child[usable].astype(np.int32))
    # the order replaces the weights: no two are equal, and the heaviest is the least
    order = usable + 1.0
    graph: Any = sp.csr_array((order, ends), shape=(n_features, n_features))
    tree = csgraph.minimum_spanning_tree(graph)
    order_in_tree = tree.data.astype(np.int64)
    return np.sort(order_in_tree) - 1


def best_parents(edges: Edges) -> np.ndarray:
    """Return the heaviest edge of each child, as places among the edges."""
    _, first_edge = np.unique(edges.child, return_index=True)
    return first_edge


def descendants(forest: Edges, n_features: int, min_out: int) -> list[np.ndarray]:
    """List what can be reached from each root: it first, then the others from frequent to rare.

    A root has at least `min_out` edges to rarer features; `n_features` are eligible.
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
