"""Which features of one SAE are those of another: matching, splitting, stability.

Two matchings. The best match of each feature alone (argmax) asks "is there anything like it?", and
many features may share a match; one-to-one (the assignment with the greatest sum) asks "is this
the same dictionary?". Argmax flatters: report both, next to two seeds of one configuration, since
even those agree only in part (Paulo and Belrose, arXiv 2501.16615). In
O'Neill et al. (arXiv 2408.00657) a feature whose best cosine exceeds 0.9 is recurrent; the parent
of a feature of a larger SAE is its best match in the smaller one.

Up to 5,000 features a side the assignment is exact (dense). Beyond, each feature may only be given
one of its 32 nearest or nothing, and the best assignment among those is found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from nanosae.analysis.similarity import n_features, similarities
from nanosae.errors import ConfigError

DENSE = 5000  # features a side up to which the assignment sees every pair
CANDIDATES = 32  # beyond that: pairs per feature


def match(a: Any, b: Any) -> pd.DataFrame:
    """Match every feature of `a` with features of `b`.

    Args:
        a: A model, weights or an array of directions, (n_features, width); or codes.
        b: Likewise; codes must be of the same rows.

    Returns:
        One line per feature of `a`: `feature`; `match` and `similarity` (the most similar feature
        of `b`; ties: the lower number); `mutual` (it is also the best match of its match);
        `partner` and `partner_similarity` (one-to-one; -1 and 0 if nothing similar was left).
        Similarities lie between −1 and 1; those of dead features are 0.

    Raises:
        DataError: If widths or numbers of rows differ.
        DataTypeError: If one is codes and the other is not.

    Example:
        >>> matches = match(np.eye(3), np.array([[0, 2.0, 0], [1, 1, 0]]))
        >>> matches["match"].tolist(), matches["partner"].tolist()
        ([1, 0, 0], [1, 0, -1])
    """
    n_a = n_features(a)
    n_b = n_features(b)
    sees_every_pair = max(n_a, n_b) <= DENSE
    best, similarity, candidates = [], [], []
    back = np.full(n_b, -1)  # the best match in `a` of each feature of `b`
    back_similarity = np.full(n_b, -np.inf)
    for start, block in similarities(a, b):
        best.append(block.argmax(1))
        similarity.append(block.max(1))
        nearest = block.argmax(0)
        nearest_similarity = block.max(0)
        nearer = nearest_similarity > back_similarity
        back[nearer] = start + nearest[nearer]
        back_similarity[nearer] = nearest_similarity[nearer]
        if not sees_every_pair:
            block = _without_distant_pairs(block)
        not_negative = np.maximum(block, 0)
        candidates.append(sp.csr_array(not_negative))
    matches = pd.DataFrame({"feature": np.arange(n_a)})
    matches["match"] = np.concatenate(best)
    best_similarity = np.concatenate(similarity)
    matches["similarity"] = best_similarity.astype(np.float64)
    match_of_match = back[matches["match"]]
    matches["mutual"] = match_of_match == matches["feature"]
    candidate_similarity = sp.csr_array(sp.vstack(candidates))
    partner, partner_similarity = assign(candidate_similarity)
    matches["partner"] = partner
    matches["partner_similarity"] = partner_similarity
    return matches


def assign(similarity: Any) -> tuple[np.ndarray, np.ndarray]:
    """Find the one-to-one matching with the greatest sum of similarities.

    Up to 5,000 features a side by the Jonker-Volgenant algorithm over all pairs (Crouse, IEEE
    Trans. Aerosp. Electron. Syst. 52 (2016) 1679), else over the stored pairs.

    Args:
        similarity: csr_array (n, m), not negative; a similarity of 0 is not a pair.

    Returns:
        The partner of each row, -1 if it has none, and their similarity, each (n,).
    """
    n, m = similarity.shape
    if max(n, m) <= DENSE:
        from scipy.optimize import linear_sum_assignment

        all_pairs = similarity.toarray()
        row, column = linear_sum_assignment(all_pairs, maximize=True)
    else:
        row, column = _assign_stored_pairs(similarity)
    partner = np.full(n, -1)
    partner_similarity = np.zeros(n)
    of_assigned = similarity[row][:, column]
    assigned_similarity = of_assigned.diagonal()
    partner_similarity[row] = assigned_similarity
    is_pair = assigned_similarity > 0
    partner[row] = np.where(is_pair, column, -1)
    return partner, partner_similarity


def splitting(small: Any, large: Any, threshold: float = 0.0) -> pd.DataFrame:
    """List which features of a larger SAE have which parent in a smaller one.

    Args:
        small: The smaller SAE: a model, weights, directions or codes.
        large: The larger one, of the same kind.
        threshold: A feature that is more similar to its parent is a child, others are novel.

    Returns:
        One line per feature of the smaller SAE: `parent`, `n_children`, `children` and their
        `similarities`, most similar first.

    Raises:
        DataError: If widths or numbers of rows differ.
        DataTypeError: If one is codes and the other is not.
    """
    matches = match(large, small)
    ranked = matches.sort_values("similarity", ascending=False, kind="stable")
    is_child = ranked["similarity"] > threshold
    all_children = ranked[is_child]
    none = all_children[:0]
    siblings = all_children.groupby("match")
    by_parent = dict(list(siblings))
    parents = range(n_features(small))
    children = [by_parent.get(parent, none) for parent in parents]
    return pd.DataFrame(
        {
            "parent": parents,
            "n_children": [len(lines) for lines in children],
            "children": [lines["feature"].tolist() for lines in children],
            "similarities": [lines["similarity"].tolist() for lines in children],
        }
    )


def stability(model: Any, others: Sequence[Any]) -> np.ndarray:
    """Return how well each feature is found again in other SAEs.

    Args:
        model: A model, weights, directions or codes.
        others: The same of SAEs trained with other seeds, which start from mostly the same rows,
            or, a harder test, on other halves of the data.

    Returns:
        The mean similarity with the one-to-one partner, (n_features,): 1 if every SAE has it, about
        the greatest cosine of random directions if none has.

    Raises:
        ConfigError: If there are no others.
    """
    if not others:
        raise ConfigError(
            "stability needs another SAE, got 0 others.",
            remedy="Train with another seed.",
        )
    similarities_found = []
    for other in others:
        matches = match(model, other)
        similarities_found.append(matches["partner_similarity"])
    return np.mean(similarities_found, axis=0)


def _without_distant_pairs(block: np.ndarray) -> np.ndarray:
    """Keep each row's nearest candidates; set the other similarities to 0."""
    if block.shape[1] <= CANDIDATES:
        return block
    nearest_last = np.partition(block, -CANDIDATES, axis=1)
    least = nearest_last[:, [-CANDIDATES]]
    is_distant = block < least
    return np.where(is_distant, 0, block)


def _assign_stored_pairs(similarity: Any) -> tuple[np.ndarray, np.ndarray]:
    """Find the best assignment among stored pairs, in which a row may stay alone.

    A pair costs 2 − similarity, 1 to 2; every row has a column of its own, in which it stays alone
    at a cost of 2.
    """
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    n, m = similarity.shape
    similarity.eliminate_zeros()
    pair_cost = 2 - similarity.data
    stored_pairs = (pair_cost, similarity.indices, similarity.indptr)
    cost_together = sp.csr_array(stored_pairs, similarity.shape)
    cost_alone = sp.diags_array(np.full(n, 2.0))
    cost = sp.hstack([cost_together, cost_alone])
    row, column = min_weight_full_bipartite_matching(sp.csr_array(cost))
    paired = column < m
    return row[paired], column[paired]
