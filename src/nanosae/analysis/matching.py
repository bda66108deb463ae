"""Correspondence between the features of two SAEs: matching, splitting, stability.

There are two kinds of matching. The best match of each feature (argmax) asks whether anything
similar exists, and many features may share a match. The one-to-one matching (the assignment with
the largest total similarity) asks whether the dictionaries are the same. Argmax is optimistic:
report both, beside two seeds of one configuration, because even those agree only in part (Paulo and
Belrose, arXiv 2501.16615). O'Neill et al. (arXiv 2408.00657) call a feature recurrent if its best
cosine exceeds 0.9; the parent of a feature of a larger SAE is its best match in a smaller one.

With up to 5,000 features per side the assignment is exact. Beyond that, the best assignment is
sought in which each feature gets one of its 32 nearest, or none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from nanosae.analysis.similarity import n_features, opened, similarities
from nanosae.errors import ConfigError, require_number

DENSE = 5000  # features per side up to which the assignment considers every pair
CANDIDATES = 32  # pairs per feature beyond that


def match(a: Any, b: Any) -> pd.DataFrame:
    """Match every feature of `a` with features of `b`.

    Args:
        a: A model, weights, a run folder, an `Analysis` or an array of directions, (n_features,
            width); or codes.
        b: Likewise; codes must be of the same rows.

    Returns:
        One row per feature of `a`: `feature`; `match` and `similarity` (the most similar feature of
        `b`; ties go to the lower number); `mutual` (whether it is also the best match of its
        match); `partner` and `partner_similarity` (one-to-one; -1 and 0 if there is none).
        Similarities lie between −1 and 1; those of dead features are 0.

    Raises:
        DataError: If widths or numbers of rows differ, or directions are not finite.
        DataTypeError: If one is codes and the other is not.

    Example:
        >>> matches = match(np.eye(3), np.array([[0, 2.0, 0], [1, 1, 0]]))
        >>> matches["match"].tolist(), matches["partner"].tolist()
        ([1, 0, 0], [1, 0, -1])
    """
    a, b = opened(a), opened(b)
    n_a = n_features(a)
    n_b = n_features(b)
    sees_every_pair = max(n_a, n_b) <= DENSE
    best, similarity, candidates = [], [], []
    reverse = np.full(n_b, -1)  # the best match in `a` of each feature of `b`
    reverse_similarity = np.full(n_b, -np.inf)
    for start, block in similarities(a, b):
        best.append(block.argmax(1))
        similarity.append(block.max(1))
        nearest = block.argmax(0)
        nearest_similarity = block.max(0)
        is_nearer = nearest_similarity > reverse_similarity
        reverse[is_nearer] = start + nearest[is_nearer]
        reverse_similarity[is_nearer] = nearest_similarity[is_nearer]
        if not sees_every_pair:
            block = _without_distant_pairs(block)
        candidates.append(sp.csr_array(np.maximum(block, 0)))
    matches = pd.DataFrame({"feature": np.arange(n_a)})
    matches["match"] = np.concatenate(best)
    best_similarity = np.concatenate(similarity)
    matches["similarity"] = best_similarity.astype(np.float64)
    match_of_match = reverse[matches["match"]]
    matches["mutual"] = match_of_match == matches["feature"]
    candidate_similarity = sp.csr_array(sp.vstack(candidates))
    partner, partner_similarity = assign(candidate_similarity)
    matches["partner"] = partner
    matches["partner_similarity"] = partner_similarity
    return matches


def assign(similarity: Any) -> tuple[np.ndarray, np.ndarray]:
    """Find the one-to-one matching with the largest total similarity.

    Uses the Jonker-Volgenant algorithm (Crouse, IEEE Trans. Aerosp. Electron. Syst. 52 (2016) 1679)
    on all pairs with up to 5,000 features per side, and otherwise a sparse matching on the stored
    pairs.

    Args:
        similarity: Non-negative csr_array (n, m); pairs with similarity 0 are not matched.

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
    assigned_similarity = similarity[row][:, column].diagonal()
    partner_similarity[row] = assigned_similarity
    is_pair = assigned_similarity > 0
    partner[row] = np.where(is_pair, column, -1)
    return partner, partner_similarity


def splitting(small: Any, large: Any, threshold: float = 0.7) -> pd.DataFrame:
    """List the children that each feature of a smaller SAE has in a larger one.

    Args:
        small: The smaller SAE: see `match`.
        large: The larger SAE, of the same kind.
        threshold: Features whose similarity to their parent exceeds it are children; the others are
            novel.

    Returns:
        One row per feature of the smaller SAE: `parent`, `n_children`, `children` and their
        `similarities`, the most similar first.

    Raises:
        ConfigError: If the threshold is no number.
        DataError: If widths or numbers of rows differ, or directions are not finite.
        DataTypeError: If one is codes and the other is not.
    """
    require_number(threshold=threshold)
    matches = match(large, small)
    ranked = matches.sort_values("similarity", ascending=False, kind="stable")
    is_child = ranked["similarity"] > threshold
    all_children = ranked[is_child]
    none = all_children[:0]
    siblings = all_children.groupby("match")
    by_parent = dict(list(siblings))
    parents = range(n_features(opened(small)))
    children = [by_parent.get(parent, none) for parent in parents]
    return pd.DataFrame(
        {
            "parent": parents,
            "n_children": [len(lines) for lines in children],
            "children": [lines["feature"].tolist() for lines in children],
            "similarities": [lines["similarity"].tolist() for lines in children],
        }
    )


def stability(model: Any, others: Any) -> np.ndarray:
    """Return how well each feature is reproduced in other SAEs.

    Args:
        model: An SAE: see `match`.
        others: One or several SAEs of the same kind, trained with other seeds (which start from
            mostly the same rows) or, as a harder test, on other parts of the data.

    Returns:
        The mean similarity to the one-to-one partner, (n_features,): 1 if every SAE has the
        feature, about the largest cosine of random directions if none has.

    Raises:
        ConfigError: If `others` is empty.
    """
    if not isinstance(others, list | tuple):
        others = [others]
    if not others:
        raise ConfigError(
            "stability needs another SAE, got 0 others.",
            remedy="Train with another seed.",
        )
    found = [match(model, other)["partner_similarity"] for other in others]
    return np.mean(found, axis=0)


def _without_distant_pairs(block: np.ndarray) -> np.ndarray:
    """Keep each row's nearest candidates; set the other similarities to 0."""
    if block.shape[1] <= CANDIDATES:
        return block
    nearest_last = np.partition(block, -CANDIDATES, axis=1)
    least = nearest_last[:, [-CANDIDATES]]
    return np.where(block < least, 0, block)


def _assign_stored_pairs(similarity: Any) -> tuple[np.ndarray, np.ndarray]:
    """Find the best assignment among the stored pairs, in which rows may stay unmatched.

    A pair costs 2 − similarity, between 1 and 2. Every row has an extra column of its own, which
    stands for "unmatched" and costs 2.
    """
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    n, m = similarity.shape
    similarity.eliminate_zeros()
    pair_cost = 2 - similarity.data
    stored_pairs = (pair_cost, similarity.indices, similarity.indptr)
    cost_matched = sp.csr_array(stored_pairs, similarity.shape)
    cost_unmatched = sp.diags_array(np.full(n, 2.0))
    cost = sp.hstack([cost_matched, cost_unmatched])
    row, column = min_weight_full_bipartite_matching(sp.csr_array(cost))
    paired = column < m
    return row[paired], column[paired]
